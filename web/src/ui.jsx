// Pieces that all views are made of.

import { useEffect, useRef, useState } from "preact/hooks";
import { ago, named } from "./format.js";

/** Shapes, so that a state is known without its colour. */
const SHAPES = {
  full: <circle cx="6" cy="6" r="5" fill="currentColor" />,
  ring: <circle cx="6" cy="6" r="4.2" fill="none" stroke="currentColor" stroke-width="1.6" />,
  dots: <circle cx="6" cy="6" r="4.2" fill="none" stroke="currentColor" stroke-width="1.8" stroke-dasharray="2.6 2.6" />,
  half: <g><circle cx="6" cy="6" r="4.2" fill="none" stroke="currentColor" stroke-width="1.6" /><path d="M6 1.8a4.2 4.2 0 0 1 0 8.4z" fill="currentColor" /></g>,
  moon: <path d="M9.9 7.7A4.6 4.6 0 0 1 4.3 2.1a4.6 4.6 0 1 0 5.6 5.6z" fill="currentColor" />,
  cross: <path d="M2.5 2.5l7 7m0-7l-7 7" stroke="currentColor" stroke-width="2.2" stroke-linecap="round" />,
  check: <path d="M2 6.5l2.8 2.8L10 3.4" fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round" stroke-linejoin="round" />,
  bang: <path d="M6 .8l5.4 10H.6zM6 4.4v2.8M6 8.9v.3" fill="none" stroke="currentColor" stroke-width="1.5" stroke-linecap="round" stroke-linejoin="round" />,
  pause: <path d="M4 2.5v7M8 2.5v7" stroke="currentColor" stroke-width="2.2" stroke-linecap="round" />,
  play: <path d="M3.2 1.8v8.4L10 6z" fill="currentColor" />,
  info: <g><circle cx="6" cy="6" r="4.8" fill="none" stroke="currentColor" stroke-width="1.3" /><path d="M6 5.4v3M6 3.4v.2" stroke="currentColor" stroke-width="1.5" stroke-linecap="round" /></g>,
  back: <path d="M4.6 2L2 4.6l2.6 2.6M2 4.6h5a3 3 0 0 1 0 6H5" fill="none" stroke="currentColor" stroke-width="1.5" stroke-linecap="round" stroke-linejoin="round" />,
};

/** State: shape, tone, words. */
const STATES = {
  ready: ["full", "good", "ready"],
  starting: ["dots", "warn", "starting"],
  unresponsive: ["half", "warn", "unresponsive"],
  stopping: ["dots", "warn", "stopping"],
  stopped: ["ring", "quiet", "stopped"],
  hibernated: ["moon", "quiet", "hibernated"],
  failed: ["cross", "bad", "failed"],
  idle: ["ring", "quiet", "idle"],
  busy: ["play", "good", "busy"],
  waiting: ["pause", "warn", "waits for you"],
  crashed: ["cross", "bad", "crashed"],
  closed: ["ring", "quiet", "closed"],
  queued: ["dots", "quiet", "queued"],
  running: ["play", "good", "running"],
  completed: ["check", "good", "completed"],
  interrupted: ["pause", "warn", "interrupted"],
  pending: ["dots", "warn", "pending"],
  in_progress: ["play", "good", "running"],
  applied: ["check", "good", "applied"],
  unchanged: ["ring", "quiet", "unchanged"],
  refused: ["cross", "warn", "refused"],
  rolled_back: ["back", "warn", "rolled back"],
  conflict: ["bang", "bad", "conflict"],
  bypass: ["bang", "bad", "bypass"],
  held: ["full", "good", "held"],
  taking: ["dots", "warn", "being taken"],
  closing: ["half", "warn", "closing"],
  error: ["cross", "bad", "error"],
  warning: ["bang", "warn", "warning"],
  note: ["info", "info", "note"],
};

export const stateOf = (name) => STATES[name] ?? ["ring", "quiet", String(name).replaceAll("_", " ")];

export function Shape({ name }) {
  return <svg class="shape" viewBox="0 0 12 12" width="12" height="12" aria-hidden="true">{SHAPES[name]}</svg>;
}

/** A state by shape, colour and word. */
export function State({ name, bare }) {
  const [shape, tone, words] = stateOf(name);
  return (
    <span class={`state ${tone}`}>
      <Shape name={shape} />
      <span class={bare ? "unseen" : undefined}>{words}</span>
    </span>
  );
}

/** A repo's name, and in small what tells it from others of that name. */
export function RepoName({ id, link = true }) {
  const [name, rest] = named(id);
  const text = <>{name}{rest && <span class="hash">-{rest}</span>}</>;
  return link ? <a class="repo" href={`#/repos/${encodeURIComponent(id)}`}>{text}</a> : <span class="repo">{text}</span>;
}

/** A text in which what stands between backticks is to be typed. */
export function Words({ text }) {
  return <>{text.split("`").map((part, at) => (at % 2 ? <code key={at}>{part}</code> : part))}</>;
}

/** A moment, said as long ago. */
export function Ago({ at }) {
  return at ? <time dateTime={at} title={at}>{ago(at)}</time> : <>–</>;
}

export function Empty({ title, children }) {
  return <div class="empty"><p><strong>{title}</strong></p>{children && <p>{children}</p>}</div>;
}

export function Problem({ error }) {
  return (
    <div class="problem" role="alert">
      <p><State name="error" bare /> <Words text={error.message} /></p>
      {error.hint && <p class="hint"><Words text={error.hint} /></p>}
    </div>
  );
}

/** A table that scrolls in itself where it is wider than the page. */
export function Table({ label, head, children }) {
  return (
    <div class="table" role="group" aria-label={label} tabIndex={0}>
      <table>
        <caption class="unseen">{label}</caption>
        <thead><tr>{head.map((name) => {
          const [text, kind] = Array.isArray(name) ? name : [name];
          return <th scope="col" class={kind}>{text}</th>;
        })}</tr></thead>
        <tbody>{children}</tbody>
      </table>
    </div>
  );
}

export function View({ title, aside, children }) {
  const heading = useRef(null);
  useEffect(() => { document.title = `${title} · repod`; }, [title]);
  return (
    <>
      <div class="head"><h1 ref={heading} tabIndex={-1} id="title">{title}</h1>{aside}</div>
      {children}
    </>
  );
}

/** Asks before something is done. What is done tells how it went. */
export function Action({ label, question, explain, danger, run, done }) {
  const dialog = useRef(null);
  const [state, setState] = useState({ busy: false, error: null });
  const act = async () => {
    setState({ busy: true, error: null });
    try {
      const said = await run();
      dialog.current?.close();
      setState({ busy: false, error: null });
      done?.(said);
    } catch (error) {
      setState({ busy: false, error });
    }
  };
  return (
    <>
      <button type="button" class={danger ? "danger" : undefined} onClick={() => dialog.current.showModal()}>{label}</button>
      <dialog ref={dialog} aria-label={question}>
        <h2>{question}</h2>
        <p>{explain}</p>
        {state.error && <Problem error={state.error} />}
        <div class="buttons">
          <button type="button" onClick={() => dialog.current.close()} disabled={state.busy}>Cancel</button>
          <button type="button" class={danger ? "primary danger" : "primary"} onClick={act} disabled={state.busy}>
            {state.busy ? "Working …" : label}
          </button>
        </div>
      </dialog>
    </>
  );
}

/** One of a few. */
export function Choice({ label, options, value, onChange }) {
  return (
    <fieldset class="choice">
      <legend class="unseen">{label}</legend>
      {options.map(([id, text]) => (
        <label key={id}>
          <input type="radio" name={label} value={id} checked={id === value} onChange={() => onChange(id)} />
          <span>{text}</span>
        </label>
      ))}
    </fieldset>
  );
}
