// Writes across repos, added up for a drawing. Pure.

/** Outcomes, from nothing to see to a person is needed. */
const WORSE = ["unchanged", "applied", "pending", "refused", "rolled_back", "unknown", "bypass", "conflict"];

/** Who writes without being a session of a repo: `repod route`, an agent of another make. */
export const OUTSIDE = "outside";

export const fromOf = (mutation) => mutation.from.repo_id ?? OUTSIDE;

/** One edge for each pair, with how many there were and the worst that came of them. */
export function flows(mutations) {
  const edges = new Map();
  for (const mutation of mutations) {
    const [from, to] = [fromOf(mutation), mutation.to.repo_id];
    const key = `${from}\0${to}`;
    const edge = edges.get(key) ?? { from, to, count: 0, worst: "unchanged" };
    edge.count += 1;
    if (WORSE.indexOf(mutation.outcome) > WORSE.indexOf(edge.worst)) edge.worst = mutation.outcome;
    edges.set(key, edge);
  }
  const sorted = [...edges.values()].sort((a, b) => (a.from + a.to < b.from + b.to ? -1 : 1));
  const ids = [...new Set(sorted.flatMap(({ from, to }) => [from, to]))].sort();
  return { ids, edges: sorted };
}
