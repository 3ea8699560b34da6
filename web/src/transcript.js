// What the events of a turn add up to, as something to be read from top to bottom. Pure but for the turn it is
// given, which it changes: a turn may have many thousands of events.

/** The most that is kept of one turn. */
const ITEMS = 500;
const TEXT = 200_000;

/** A turn of which nothing is known yet. */
export const fresh = () => ({ last: 0, items: [], left: 0, at: new Map(), usage: null, end: null, status: null });

/** Takes an event in. Events that were seen already are skipped, so that a stream may be resumed. */
export function take(turn, event) {
  if (event.id !== undefined) {
    if (event.id <= turn.last) return turn;
    turn.last = event.id;
  }
  const kind = KINDS[event.type];
  if (kind) kind(turn, event);
  return turn;
}

const KINDS = {
  text: (turn, event) => grow(turn, "text", event),
  reasoning: (turn, event) => grow(turn, "reasoning", event),
  tool_call: call,
  tool_update: call,
  permission: (turn, event) => put(turn, `ask:${event.request_id}`, { kind: "permission", ask: event, open: true }),
  question: (turn, event) => put(turn, `ask:${event.request_id}`, { kind: "question", ask: event, open: true }),
  answered: (turn, { request_id: id }) => {
    const item = turn.at.get(`ask:${id}`);
    if (item) item.open = false;
  },
  status: (turn, event) => {
    turn.status = event;
    turn.end = null;
    if (event.state !== "busy" && event.state !== "queued") push(turn, { kind: "status", status: event });
  },
  usage: (turn, event) => { turn.usage = event; },
  turn: (turn, event) => { turn.end = event; },
};

function grow(turn, kind, { text, part_id: part, replace }) {
  const last = turn.items.at(-1);
  // Pieces without a part belong to what was said last.
  const key = part ? `${kind}:${part}` : last?.kind === kind ? last.key : `${kind}:#${turn.last}`;
  const item = turn.at.get(key) ?? put(turn, key, { kind, text: "", cut: false });
  const whole = replace ? text : item.text + text;
  item.cut ||= whole.length > TEXT;
  item.text = item.cut ? whole.slice(-TEXT) : whole;
}

function call(turn, { tool_call: tool }) {
  const item = turn.at.get(`tool:${tool.id}`);
  if (item) item.tool = tool;
  else put(turn, `tool:${tool.id}`, { kind: "tool", tool });
}

function put(turn, key, item) {
  turn.at.set(key, item);
  return push(turn, Object.assign(item, { key }));
}

function push(turn, item) {
  item.key ??= `${item.kind}:${turn.last}`;
  turn.items.push(item);
  if (turn.items.length > ITEMS) {
    turn.at.delete(turn.items.shift().key);
    turn.left += 1;
  }
  return item;
}

/** What came of a tool call, as text; undefined while there is nothing. */
export function output({ raw_output: raw }) {
  if (raw === null || raw === undefined) return undefined;
  const said = typeof raw === "string" ? raw : raw.error ?? raw.output ?? raw;
  return typeof said === "string" ? said : JSON.stringify(said, null, 2);
}

/** A change, line by line, each with its sign. */
export function diffLines({ patch, old_text: before, new_text: after }) {
  if (patch) {
    const body = patch.split("\n").filter((line) => !/^(Index:|={3,}|diff |index |--- |\+\+\+ |\\)/.test(line));
    while (body.length && body.at(-1) === "") body.pop();
    return body.map((line) => [line.startsWith("@@") ? "@" : (line[0] ?? " "), line.startsWith("@@") ? line : line.slice(1)]);
  }
  const split = (text) => (text ? text.replace(/\n$/, "").split("\n") : []);
  return [...split(before).map((line) => ["-", line]), ...split(after).map((line) => ["+", line])];
}
