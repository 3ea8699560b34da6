// Who may write where, and who waits for whom.

import { post } from "../api.js";
import { Drawing } from "../drawing.jsx";
import { count, cut, named } from "../format.js";
import { waits } from "../waits.js";
import { Action, Ago, Empty, RepoName, State, View } from "../ui.jsx";

/** The agent session that is this session of OpenCode's, if repod has a record of it. */
const recordOf = (overview, id) => overview.sessions.find((session) => session.agent_session_id === id);

function Who({ id, title, overview }) {
  const record = recordOf(overview, id);
  const text = title || record?.title || id;
  return (
    <span class="who">
      {record ? <a href={`#/sessions/${encodeURIComponent(record.repo_id)}/${encodeURIComponent(record.session_id)}`}>{text}</a> : text}
      {text !== id && <span class="hash"> {id}</span>}
    </span>
  );
}

export function Lease({ lease, overview, tell, again }) {
  const { owner, calls = [], waiters } = lease;
  const root = overview.repos.find((repo) => repo.repo_id === lease.repo_id)?.root;
  const [name] = named(lease.repo_id);
  const where = `${name} ${lease.branch}`;
  const release = () => post("/v1/lease/release", { path: root, branch: lease.branch, by: "the web dashboard" });
  return (
    <article class="card lease" aria-label={`Lease of ${where}`}>
      <header>
        <h3><RepoName id={lease.repo_id} /> <span class="branch">{lease.branch}</span></h3>
        <State name={lease.state} />
        <span class="soft">since <Ago at={lease.since} /> · fence {lease.fence}</span>
        {root && <Action label="Take away" danger question={`Take the lease of ${where} away?`}
          explain="Its owner's further writes are refused, and the next in line may write. A call that is running is not undone."
          run={release} done={() => { tell(`the lease of ${where} was taken away`); again(); }} />}
      </header>
      <p><span class="soft">{owner.kind === "outside" ? "held from outside by" : "held by"}</span> <Who id={owner.session_id} title={owner.title} overview={overview} />
        {owner.pid && <span class="soft"> pid {owner.pid}</span>}</p>
      {lease.blocked_by && <p class="finding"><State name="warning" bare /> kept from it by {lease.blocked_by}</p>}
      {calls.length > 0 && <ul class="calls">{calls.map((call) => (
        <li key={call.call_id}><code>{call.what}</code> <span class="soft">{call.state.replaceAll("_", " ")} since <Ago at={call.since} /></span>
          {call.permission && <span class="finding"><State name="waiting" /> for a permission: {call.permission}</span>}</li>
      ))}</ul>}
      {waiters.length > 0 && (
        <>
          <h4>{count(waiters.length, "waits", "wait")}</h4>
          <ol class="line-up">{waiters.map((waiter) => (
            <li key={waiter.root_session_id}><Who id={waiter.session_id} title={waiter.title} overview={overview} />{" "}
              <span class="soft">since <Ago at={waiter.since} />{waiter.calls > 1 ? `, ${count(waiter.calls, "call")}` : ""}</span></li>
          ))}</ol>
        </>
      )}
    </article>
  );
}

function Waits({ leases }) {
  const { nodes, edges } = waits(leases);
  if (edges.length === 0) return null;
  const titles = new Map(nodes.map((node) => [node.id, node.title]));
  return (
    <section aria-labelledby="waits">
      <h2 id="waits">Who waits for whom</h2>
      <Drawing label="Who waits for whom"
        nodes={nodes.map((node) => ({ id: node.id, title: node.title, under: node.holds.length ? `writes on ${node.holds.join(", ")}` : "waits" }))}
        edges={edges.map((edge) => ({ ...edge, state: "pending", label: edge.branches.length === 1 ? cut(named(edge.repo)[0], 8) : `${edge.branches.length} branches`,
          says: `${titles.get(edge.from)} waits for ${titles.get(edge.to)} on ${edge.branches.join(", ")}` }))} />
    </section>
  );
}

export function Leases(props) {
  const { leases } = props.overview;
  const waiting = leases.reduce((sum, lease) => sum + lease.waiters.length, 0);
  const said = leases.length ? `${count(leases.length, "branch", "branches")} held, ${count(waiting, "waits", "wait")}` : null;
  return (
    <View title="Leases" aside={said && <p class="soft">{said}</p>}>
      {leases.length === 0 ? <Empty title="Nobody writes at the moment">A session takes its branch's lease with its first write of a turn, and others wait in line.</Empty> : (
        <>
          <Waits leases={leases} />
          <h2>Held</h2>
          {leases.map((lease) => <Lease key={`${lease.repo_id} ${lease.branch}`} lease={lease} {...props} />)}
        </>
      )}
    </View>
  );
}
