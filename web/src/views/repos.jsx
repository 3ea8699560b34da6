// All repos, and one in full.

import { useState } from "preact/hooks";
import { post } from "../api.js";
import { bytes, count, span } from "../format.js";
import { RANGES } from "../samples.js";
import { Action, Ago, Empty, Problem, RepoName, State, Table, View } from "../ui.jsx";
import { Card, Controls, Figures, useSamples } from "./memory.jsx";
import { SessionRows } from "./sessions.jsx";
import { Lease } from "./leases.jsx";

const LIVE = ["starting", "ready", "unresponsive", "stopping"];

function Totals({ repos, sessions }) {
  const sum = (value) => repos.reduce((total, repo) => total + (value(repo) ?? 0), 0);
  const live = repos.filter((repo) => LIVE.includes(repo.state)).length;
  const failed = repos.filter((repo) => repo.state === "failed").length;
  const waiting = sessions.filter((session) => session.status === "waiting").length;
  const facts = [["awake", `${live} of ${repos.length}`], ["turns", sum((repo) => repo.busy)],
    ["clients", sum((repo) => repo.clients)], ["memory", bytes(sum((repo) => repo.rss_bytes))],
    ...(failed ? [["failed", failed]] : []), ...(waiting ? [["wait for you", waiting]] : [])];
  return <dl class="facts totals">{facts.map(([name, value]) => <div key={name}><dt>{name}</dt><dd>{value}</dd></div>)}</dl>;
}

function Row({ repo, most }) {
  return (
    <tr>
      <td><State name={repo.state} /></td>
      <th scope="row">
        <RepoName id={repo.repo_id} />
        <div class="path">{repo.root || "its record can't be used"}</div>
        {repo.error && <div class="finding bad"><State name="error" bare /> {repo.error.message}</div>}
      </th>
      <td>{repo.branch ?? "–"}</td>
      <td class="number">{repo.generation}</td>
      <td class="number">
        {bytes(repo.rss_bytes)}
        {repo.rss_bytes > 0 && <meter class="bar" min="0" max={most || 1} value={repo.rss_bytes} aria-hidden="true" />}
      </td>
      <td class="number">{repo.sessions ?? "–"}</td>
      <td class="number">{repo.busy === null || repo.busy === undefined ? "–" : repo.busy === 0 ? "0" : <span class="state good"><strong>{repo.busy}</strong></span>}</td>
      <td class="number">{repo.clients ?? "–"}</td>
      <td class="number">{span(repo.idle_seconds)}</td>
    </tr>
  );
}

export function Repos({ overview }) {
  const { repos, sessions } = overview;
  const most = Math.max(0, ...repos.map((repo) => repo.rss_bytes ?? 0));
  const head = ["State", "Repository", "Branch", ["Gen.", "number"], ["Memory", "number"], ["Sessions", "number"], ["Busy", "number"],
    ["Clients", "number"], ["Idle", "number"]];
  return (
    <View title="Repositories" aside={repos.length > 0 && <Totals repos={repos} sessions={sessions} />}>
      {repos.length === 0
        ? <Empty title="No repository is known yet">In a terminal: <code>repod up ~/src/web ~/src/api</code></Empty>
        : <Table label="Repositories" head={head}>{repos.map((repo) => <Row key={repo.repo_id} repo={repo} most={most} />)}</Table>}
    </View>
  );
}

/** What can be done with a backend. */
function Actions({ repo, tell, again }) {
  const target = { id: repo.repo_id };
  const done = (what) => (said) => {
    const report = said.stopped?.[0] ?? said.hibernated?.[0];
    tell(report?.error ? `${repo.repo_id}: ${report.error.message}` : `${repo.repo_id}: ${what}`);
    again();
  };
  const refusing = async (path) => {
    const said = await post(path, { target });
    const error = (said.stopped ?? said.hibernated)?.find((one) => one.error)?.error;
    if (error) throw Object.assign(new Error(error.message), error);
    return said;
  };
  const live = LIVE.includes(repo.state);
  const busy = repo.busy > 0 ? ` ${count(repo.busy, "turn")} in flight will be interrupted.` : "";
  return (
    <div class="buttons">
      <Action label={live ? "Restart" : "Start"} question={`${live ? "Restart" : "Start"} the backend of ${repo.repo_id}?`}
        explain={live ? `Its process tree is ended, and the next generation started. Its address stays.${busy}` : "Its next generation is started."}
        run={() => post("/v1/restart", { target })} done={done("started")} />
      {live && <Action label="Hibernate" question={`Put ${repo.repo_id} to sleep?`}
        explain="Its backend is ended unless somebody uses it. The next request wakes it." run={() => refusing("/v1/hibernate")} done={done("sleeps")} />}
      {live && <Action label="Stop" danger question={`Stop the backend of ${repo.repo_id}?`}
        explain={`It is ended with everything it started, and stays stopped until somebody asks for it.${busy}`}
        run={() => refusing("/v1/stop")} done={done("stopped")} />}
    </div>
  );
}

export function Repo({ id, overview, tell, again }) {
  const [range, setRange] = useState("1 h");
  const [metric, setMetric] = useState("pss");
  const { samples, at } = useSamples([id], RANGES[range]);
  const repo = overview.repos.find((one) => one.repo_id === id);
  if (!repo) {
    return <View title={id}><Empty title="There is no such repository"><a href="#/repos">All repositories</a></Empty></View>;
  }
  const mine = samples.get(id) ?? [];
  const sessions = overview.sessions.filter((session) => session.repo_id === id);
  const leases = overview.leases.filter((lease) => lease.repo_id === id);
  const facts = [["root", repo.root], ["branch", repo.branch], ["address", repo.url], ["generation", repo.generation],
    ["pid", repo.backend?.pid], ["OpenCode", repo.backend?.version], ["started", repo.backend && <Ago at={repo.backend.started_at} />],
    ["sessions", repo.sessions], ["busy", repo.busy], ["clients", repo.clients], ["idle", repo.idle_seconds != null ? span(repo.idle_seconds) : null]];
  return (
    <View title={id} aside={repo.root && <Actions repo={repo} tell={tell} again={again} />}>
      <p class="line"><State name={repo.state} /></p>
      {repo.error && <Problem error={repo.error} />}
      {repo.error?.details?.log_tail && <pre class="log" tabIndex={0} aria-label="The end of its log">{repo.error.details.log_tail}</pre>}
      {(repo.warnings ?? []).map((text) => <p key={text} class="finding"><State name="warning" bare /> {text}</p>)}
      <dl class="sheet">
        {facts.filter(([, value]) => value !== null && value !== undefined && value !== "")
          .map(([name, value]) => <div key={name}><dt>{name}</dt><dd>{value}</dd></div>)}
      </dl>
      <section aria-labelledby="its-memory">
        <div class="head"><h2 id="its-memory">Memory</h2><Controls range={range} setRange={setRange} metric={metric} setMetric={setMetric} /></div>
        <Card id={id} state={repo.state} samples={mine} metric={metric} seconds={RANGES[range]} now={at} heading={false} />
        {mine.length > 0 && <details><summary>In figures</summary><Figures samples={mine} /></details>}
      </section>
      <section aria-labelledby="its-sessions">
        <h2 id="its-sessions">Agent sessions</h2>
        {sessions.length ? <SessionRows sessions={sessions} /> : <p class="soft">None.</p>}
      </section>
      <section aria-labelledby="its-leases">
        <h2 id="its-leases">Leases</h2>
        {leases.length ? leases.map((lease) => <Lease key={lease.branch} lease={lease} overview={overview} tell={tell} again={again} />)
          : <p class="soft">Nobody writes here at the moment.</p>}
      </section>
    </View>
  );
}
