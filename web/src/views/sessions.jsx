// Agent sessions, and what one of them says while it says it.

import { useEffect, useReducer, useRef, useState } from "preact/hooks";
import { get, lines, post } from "../api.js";
import { count, span } from "../format.js";
import { pause } from "../pace.js";
import { usePolled } from "../store.js";
import { diffLines, fresh, output, take } from "../transcript.js";
import { Action, Ago, Empty, Problem, RepoName, State, Table, View } from "../ui.jsx";

const hrefOf = (session) => `#/sessions/${encodeURIComponent(session.repo_id)}/${encodeURIComponent(session.session_id)}`;
const OPEN = ["queued", "running", "waiting"];

export function SessionRows({ sessions, withRepo }) {
  const head = ["Status", "Session", ...(withRepo ? ["Repository"] : []), "Agent", "Model", ["Queued", "number"], "Last active"];
  return (
    <Table label="Agent sessions" head={head}>
      {sessions.map((session) => (
        <tr key={`${session.repo_id} ${session.session_id}`}>
          <td><State name={session.status} /></td>
          <th scope="row"><a href={hrefOf(session)}>{session.title || session.session_id}</a>
            {session.title && session.title !== session.session_id && <div class="path">{session.session_id}</div>}</th>
          {withRepo && <td><RepoName id={session.repo_id} /></td>}
          <td>{session.agent || "–"}</td><td>{session.model || "–"}</td>
          <td class="number">{session.queued || "–"}</td>
          <td><Ago at={session.last_active_at} /></td>
        </tr>
      ))}
    </Table>
  );
}

export function Sessions({ overview: { sessions } }) {
  const activity = usePolled((signal) => get("/v1/activity", {}, signal), []);
  const busy = sessions.filter(({ status }) => status === "busy" || status === "waiting").length;
  return (
    <View title="Sessions" aside={sessions.length > 0 && <p class="soft">{count(sessions.length, "agent session")}, {busy} at work</p>}>
      {sessions.length === 0
        ? <Empty title="There is no agent session">In a terminal: <code>repod prompt --session review "look at the last commit"</code></Empty>
        : <SessionRows sessions={sessions} withRepo />}
      <Others sessions={sessions} activity={activity} />
    </View>
  );
}

const DOING = { permission: "wants to be allowed", question: "asks you", tool: "runs", answering: "writes its answer", thinking: "thinks", working: "works" };

function doing({ doing: at, tool }) {
  const what = tool && <code>{[tool.name, tool.title].filter(Boolean).join(" ")}</code>;
  return <>{DOING[at] ?? "–"} {what}{tool?.more > 0 && ` and ${tool.more} more`}</>;
}

/** Sessions that are no agent sessions: of terminals, of editors, and subagents. What they do is known, what they say is not. */
function Others({ sessions, activity: { value, error } }) {
  const agents = new Set(sessions.map((session) => session.agent_session_id));
  const rows = (value?.repos ?? []).flatMap((repo) => (repo.active ?? []).filter(({ session_id: id }) => !agents.has(id)).map((one) => ({ ...one, repo_id: repo.repo_id })));
  if (error) return <Problem error={error} />;
  if (rows.length === 0) return null;
  return (
    <section aria-labelledby="others">
      <h2 id="others">In terminals and editors</h2>
      <Table label="Other sessions" head={["Status", "Session", "Repository", "Doing", "Since"]}>
        {rows.map((one) => (
          <tr key={`${one.repo_id} ${one.session_id}`}>
            <td><State name={one.status} /></td>
            <th scope="row">{one.title || one.session_id}{one.parent_session_id && <span class="soft"> (subagent)</span>}<div class="path">{one.directory}</div></th>
            <td><RepoName id={one.repo_id} /></td>
            <td>{doing(one)}</td>
            <td>{one.since ? <Ago at={one.since} /> : "–"}</td>
          </tr>
        ))}
      </Table>
    </section>
  );
}

/** Follows a turn to its end; goes on where it was when the connection breaks. */
function useTurn(session, turnId) {
  const [, changed] = useReducer((n) => n + 1, 0);
  const state = useRef({ turn: fresh(), error: null, ended: false });
  useEffect(() => {
    const controller = new AbortController();
    const mine = state.current = { turn: fresh(), error: null, ended: false };
    let drawn = 0;
    const draw = () => { drawn ||= requestAnimationFrame(() => { drawn = 0; changed(); }); };
    const each = (event) => {
      if (event.error) { mine.error = event.error; } else { take(mine.turn, event); }
      draw();
    };
    const follow = async () => {
      const path = `/v1/sessions/${encodeURIComponent(session.session_id)}/turns/${encodeURIComponent(turnId)}`;
      for (let failures = 0; !controller.signal.aborted && !mine.ended;) {
        try {
          await lines(path, { repo_id: session.repo_id, after: mine.turn.last }, each, controller.signal);
          mine.ended = true;
        } catch (error) {
          if (controller.signal.aborted) return;
          failures += 1;
          mine.error = error;
          draw();
          if (error.status && error.status < 500) return;
          await new Promise((resolve) => setTimeout(resolve, pause(failures)));
          mine.error = null;
        }
      }
      draw();
    };
    void follow();
    return () => { controller.abort(); cancelAnimationFrame(drawn); };
  }, [session.repo_id, session.session_id, turnId]);
  return state.current;
}

function Diff({ diff }) {
  return (
    <div class="diff"><div class="path">{diff.path}</div>
      <pre tabIndex={0} aria-label={`Change of ${diff.path}`}>{diffLines(diff).map(([sign, text], at) => (
        <span key={at} class={sign === "+" ? "added" : sign === "-" ? "removed" : sign === "@" ? "place" : undefined}>{sign === "@" ? "" : sign}{text}{"\n"}</span>
      ))}</pre></div>
  );
}

function Tool({ tool }) {
  const said = output(tool);
  const input = tool.raw_input && Object.keys(tool.raw_input).length > 0 ? JSON.stringify(tool.raw_input, null, 2) : null;
  return (
    <details class="tool">
      <summary><State name={tool.status} bare /> <span class="tool-name">{tool.tool || tool.kind}</span> <span>{tool.title}</span></summary>
      {input && <pre tabIndex={0} aria-label="Input">{input}</pre>}
      {(tool.diffs ?? []).map((diff) => <Diff key={diff.path} diff={diff} />)}
      {said && <pre tabIndex={0} aria-label="Output" class={tool.status === "failed" ? "bad" : undefined}>{said}</pre>}
    </details>
  );
}

function Ask({ kind, ask, open }) {
  const words = kind === "permission" ? `${ask.permission}${ask.patterns?.length ? `: ${ask.patterns.join(", ")}` : ""}`
    : ask.questions.map(({ question }) => question).join(" ");
  return (
    <div class={open ? "ask open" : "ask"}>
      <p>{open ? <State name="waiting" /> : <State name="completed" bare />} {kind === "permission" ? "wants to be allowed" : "asks"} <code>{words}</code>
        {!open && <span class="soft"> answered</span>}</p>
      {open && <p class="soft">In a terminal: <code>repod sessions answer</code>, or any client that is attached.</p>}
    </div>
  );
}

function Item({ item }) {
  switch (item.kind) {
    case "text": return <div class="said">{item.cut && <p class="soft">… the beginning is not shown</p>}{item.text}</div>;
    case "reasoning": return <details class="thought"><summary>Thought</summary><div class="said">{item.text}</div></details>;
    case "tool": return <Tool tool={item.tool} />;
    case "status": return <p class="soft">{item.status.state}{item.status.message ? `: ${item.status.message}` : ""}</p>;
    default: return <Ask {...item} />;
  }
}

/** Stays at the end while more comes, unless the reader has gone elsewhere. */
function useFollowing() {
  const box = useRef(null);
  const follows = useRef(true);
  useEffect(() => { if (follows.current && box.current) box.current.scrollTop = box.current.scrollHeight; });
  const onScroll = ({ currentTarget: it }) => { follows.current = it.scrollHeight - it.scrollTop - it.clientHeight < 40; };
  return { ref: box, onScroll };
}

function Turn({ session, info }) {
  const { turn, error } = useTurn(session, info.turn_id);
  const following = useFollowing();
  const state = turn.end?.outcome ?? info.state;
  const took = info.started_at && info.settled_at ? span((Date.parse(info.settled_at) - Date.parse(info.started_at)) / 1000) : null;
  const failure = turn.end?.error ?? info.error;
  return (
    <>
      {turn.left > 0 && <p class="soft">{count(turn.left, "earlier item")} not shown</p>}
      <div class="transcript" {...following} role="log" aria-label={`Transcript of turn ${info.turn}`} aria-live="off" tabIndex={0}>
        {info.prompt && <div class="said asked"><span class="unseen">Asked: </span>{info.prompt}</div>}
        {turn.items.map((item) => <Item key={item.key} item={item} />)}
        {turn.items.length === 0 && <p class="soft">{OPEN.includes(info.state) ? "Nothing was said yet." : "Nothing was said, or it is no longer kept."}</p>}
      </div>
      {failure && <Problem error={{ message: `${failure.name}: ${failure.message}` }} />}
      {error && <Problem error={error} />}
      <p class="line soft"><State name={state} />{took && <> in {took}</>}
        {turn.usage && <> · {number(turn.usage.input_tokens + turn.usage.cache_read_tokens)} tokens read, {number(turn.usage.output_tokens)} written
          {turn.usage.cost > 0 && `, $${turn.usage.cost.toFixed(4)}`}</>}</p>
    </>
  );
}

const number = (value) => value.toLocaleString();

/** A turn that is read when it is opened. */
function Fold({ session, info, newest }) {
  const [open, setOpen] = useState(newest);
  return (
    <details class="turn" open={open} onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary><h2>Turn {info.turn}</h2> <State name={info.state} /> <span class="soft"><Ago at={info.begun_at} /></span>
        {!open && info.prompt && <span class="excerpt soft">{info.prompt.slice(0, 200)}</span>}</summary>
      {open && <Turn session={session} info={info} />}
    </details>
  );
}

export function Session({ repoId, id, overview, tell, again }) {
  const path = `/v1/sessions/${encodeURIComponent(id)}`;
  const { value, error } = usePolled((signal) => get(path, { repo_id: repoId }, signal), [repoId, id]);
  // What is told about a turn is told once, to those who can't see it.
  const last = value?.turns[0];
  const was = useRef(null);
  useEffect(() => {
    if (last && was.current && was.current !== `${last.turn} ${last.state}`) tell(`turn ${last.turn}: ${last.state}`);
    was.current = last ? `${last.turn} ${last.state}` : null;
  }, [last?.turn, last?.state]);
  const known = value ?? overview.sessions.find((one) => one.session_id === id && one.repo_id === repoId);
  if (!known) return <View title={id}>{error ? <Problem error={error} /> : <p class="soft">Looking …</p>}</View>;
  const working = known.status === "busy" || known.status === "waiting";
  const facts = [["repository", <RepoName id={known.repo_id} />], ["directory", known.directory], ["agent", known.agent], ["model", known.model],
    ["in OpenCode", known.agent_session_id], ["queued", known.queued || null], ["made", <Ago at={known.created_at} />]];
  return (
    <View title={known.title || id} aside={working && <Action label="Abort" danger question="End what this session does?"
      explain="The turn that runs is interrupted, and those that wait are taken out of the line."
      run={() => post(`${path}/abort?repo_id=${encodeURIComponent(repoId)}`, {})} done={() => { tell("aborted"); again(); }} />}>
      <p class="line"><State name={known.status} /> <span class="soft">last active <Ago at={known.last_active_at} /></span></p>
      {error && <Problem error={error} />}
      <dl class="sheet">{facts.filter(([, text]) => text).map(([name, text]) => <div key={name}><dt>{name}</dt><dd>{text}</dd></div>)}</dl>
      {value?.turns.length === 0 && <Empty title="It was not prompted yet" />}
      {(value?.turns ?? []).map((info, at) => <Fold key={info.turn_id} session={known} info={info} newest={at === 0} />)}
    </View>
  );
}
