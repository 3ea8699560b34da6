// Who waits for whom, over all leases. Pure.

import { named } from "./format.js";

/** Nodes are session trees (or holders from outside), edges lead from one that waits to the one it waits for. */
export function waits(leases) {
  const nodes = new Map();
  const edges = new Map();
  const node = (id, title, repo) => {
    const known = nodes.get(id) ?? { id, title: "", holds: [] };
    known.title ||= title;
    known.repo ??= repo;
    nodes.set(id, known);
    return known;
  };
  for (const lease of leases) {
    if (lease.waiters.length === 0) continue;
    const { owner } = lease;
    node(owner.root_session_id, owner.title || owner.session_id, owner.repo_id).holds.push(`${named(lease.repo_id)[0]} ${lease.branch}`);
    let before = owner.root_session_id;
    for (const waiter of [...lease.waiters].sort((a, b) => a.position - b.position)) {
      node(waiter.root_session_id, waiter.title || waiter.session_id, lease.repo_id);
      const key = `${waiter.root_session_id}\0${before}`;
      const edge = edges.get(key) ?? { from: waiter.root_session_id, to: before, repo: lease.repo_id, branches: [] };
      edge.branches.push(`${lease.repo_id} ${lease.branch}`);
      edges.set(key, edge);
      // The next in line waits for this one as well.
      before = waiter.root_session_id;
    }
  }
  return { nodes: [...nodes.values()], edges: [...edges.values()].filter(({ from, to }) => from !== to) };
}
