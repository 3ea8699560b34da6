// The parts that need no browser.

import assert from "node:assert/strict";
import { test } from "node:test";
import { ago, bytes, cut, named, span } from "../src/format.js";
import { layout, NODE } from "../src/graph.js";
import { flows, OUTSIDE } from "../src/mutations.js";
import { EVERY, pause } from "../src/pace.js";
import { columns, figures, joined } from "../src/samples.js";
import { diffLines, fresh, output, take } from "../src/transcript.js";
import { waits } from "../src/waits.js";
import { twelve } from "./scenes.js";

test("sizes, spans and names are short", () => {
  assert.deepEqual([0, 1023, 1024, 10.5 * 2 ** 20, 1023.7 * 2 ** 20, 5 * 2 ** 40].map(bytes),
    ["0 B", "1023 B", "1.00 KiB", "10.5 MiB", "1.00 GiB", "5.00 TiB"]);
  assert.equal(bytes(undefined), "–");
  assert.deepEqual([0, 59.4, 60, 3599, 3600, 5400, 90_000, 86_400].map(span), ["0 s", "59 s", "1 min", "59 min", "1 h", "1 h 30 min", "1 d 1 h", "1 d"]);
  assert.equal(ago("2026-01-01T00:00:00Z", Date.parse("2026-01-01T00:03:00Z")), "3 min ago");
  assert.equal(ago("never"), "–");
  assert.deepEqual(named("a-b-3f2a9c1b04de"), ["a-b", "3f2a9c1b04de"]);
  assert.deepEqual(named("x"), ["x", ""]);
  assert.equal(cut("abcdef", 4), "abc…");
});

test("a daemon that fails or is slow is asked less often", () => {
  assert.equal(pause(0, 5), EVERY);
  assert.equal(pause(0, 2000), 8000);
  assert.deepEqual([1, 2, 3, 9, 99].map((n) => pause(n)), [2000, 4000, 8000, 30_000, 30_000]);
});

const boxes = ({ nodes }) => nodes.map(({ x, y }) => [x, y, x + NODE.width, y + NODE.height]);
const apart = (graph) => {
  const all = boxes(graph);
  all.forEach((a, at) => all.slice(at + 1).forEach((b) => assert.ok(a[2] <= b[0] || b[2] <= a[0] || a[3] <= b[1] || b[3] <= a[1], `${a} over ${b}`)));
  all.forEach(([x0, y0, x1, y1]) => assert.ok(x0 >= 0 && y0 >= 0 && x1 <= graph.width && y1 <= graph.height));
};

test("a chain is drawn from left to right, and a circle is closed by an edge that leads back", () => {
  const chain = layout(["c", "a", "b"], [{ from: "a", to: "b" }, { from: "b", to: "c" }]);
  const x = Object.fromEntries(chain.nodes.map((node) => [node.id, node.x]));
  assert.ok(x.a < x.b && x.b < x.c);
  assert.ok(chain.edges.every((edge) => !edge.back));
  const circle = layout(["a", "b", "c"], [{ from: "a", to: "b" }, { from: "b", to: "c" }, { from: "c", to: "a" }, { from: "b", to: "b" }]);
  assert.equal(circle.edges.filter(({ back }) => back).length, 2, "one closes it, one leads to itself");
  apart(circle);
  assert.deepEqual(layout([], []).nodes, []);
});

test("graphs of any form have no node over another, and are drawn the same each time", () => {
  let seed = 1;
  const random = (below) => { seed = (seed * 48_271) % 2_147_483_647; return seed % below; };
  for (let round = 0; round < 200; round += 1) {
    const ids = Array.from({ length: 1 + random(13) }, (_, at) => `repo-${at}`);
    const pairs = new Set(Array.from({ length: random(30) }, () => `${ids[random(ids.length)]} ${ids[random(ids.length)]}`));
    const edges = [...pairs].map((pair) => { const [from, to] = pair.split(" "); return { from, to }; });
    const graph = layout(ids, edges);
    apart(graph);
    assert.equal(graph.edges.length, edges.length);
    for (const { path, middle } of graph.edges) assert.ok(!/NaN|undefined/.test(path) && middle.every(Number.isFinite), path);
    assert.deepEqual(layout(ids, edges), graph);
  }
});

test("labels of a usual graph don't cover each other", () => {
  const { ids, edges } = flows(twelve()["GET /v1/mutations"]);
  const spots = layout(ids, edges).edges.map(({ middle }) => middle);
  spots.forEach(([ax, ay], at) => spots.slice(at + 1).forEach(([bx, by]) => assert.ok(Math.abs(ax - bx) >= 46 || Math.abs(ay - by) >= 22, `${ax},${ay} ${bx},${by}`)));
});

test("writes are added up by pair, and the worst that came of them is what is shown", () => {
  const write = (from, to, outcome) => ({ from: { repo_id: from, session_id: "s" }, to: { repo_id: to }, outcome });
  const { ids, edges } = flows([write("a", "b", "applied"), write("a", "b", "conflict"), write("a", "b", "refused"), write(null, "a", "unchanged"), write("b", "a", "from_the_future")]);
  assert.deepEqual(ids, ["a", "b", OUTSIDE]);
  assert.deepEqual(edges.map(({ from, to, count, worst }) => [from, to, count, worst]),
    [["a", "b", 3, "conflict"], ["b", "a", 1, "unchanged"], [OUTSIDE, "a", 1, "unchanged"]]);
});

test("who waits stands behind the one before, over all branches", () => {
  const owner = (id) => ({ session_id: id, root_session_id: id, title: id, repo_id: "r" });
  const waiter = (id, position) => ({ session_id: id, root_session_id: id, title: "", position });
  const { nodes, edges } = waits([
    { repo_id: "r", branch: "main", owner: owner("a"), waiters: [waiter("c", 2), waiter("b", 1)] },
    { repo_id: "q", branch: "dev", owner: owner("d"), waiters: [waiter("a", 1)] },
    { repo_id: "q", branch: "free", owner: owner("e"), waiters: [] },
  ]);
  assert.deepEqual(edges.map(({ from, to }) => `${from}>${to}`), ["b>a", "c>b", "a>d"]);
  assert.deepEqual(nodes.map(({ id }) => id).sort(), ["a", "b", "c", "d"]);
  assert.deepEqual(nodes.find(({ id }) => id === "a").holds, ["r main"]);
});

const told = (...events) => events.reduce((turn, event, at) => take(turn, { id: at + 1, ...event }), fresh());

test("pieces of text are joined by their parts, in the order in which these were first heard of", () => {
  const turn = told({ type: "text", text: "a", part_id: "1" }, { type: "reasoning", text: "hm", part_id: "2" }, { type: "text", text: "b", part_id: "1" },
    { type: "text", text: "c" }, { type: "text", text: "d" }, { type: "text", text: "anew", part_id: "1", replace: true }, { type: "a_new_type" });
  assert.deepEqual(turn.items.map(({ kind, text }) => [kind, text]), [["text", "anew"], ["reasoning", "hm"], ["text", "cd"]]);
});

test("a stream that is resumed tells nothing twice", () => {
  const turn = told({ type: "text", text: "a" });
  take(turn, { id: 1, type: "text", text: "a" });
  assert.equal(turn.items[0].text, "a");
});

test("the last snapshot of a tool call counts, and an ask is open until it is answered", () => {
  const turn = told({ type: "tool_call", tool_call: { id: "t", status: "pending" } }, { type: "permission", request_id: "r" }, { type: "turn", outcome: "waiting" },
    { type: "answered", request_id: "r" }, { type: "status", state: "busy" }, { type: "tool_update", tool_call: { id: "t", status: "completed" } }, { type: "turn", outcome: "completed" });
  assert.deepEqual(turn.items.map(({ kind, tool, open }) => [kind, tool?.status, open]), [["tool", "completed", undefined], ["permission", undefined, false]]);
  assert.equal(turn.end.outcome, "completed");
});

test("a turn is kept within bounds", () => {
  const turn = fresh();
  for (let id = 1; id <= 2000; id += 1) take(turn, { id, type: "tool_call", tool_call: { id: `t${id}`, status: "completed" } });
  assert.deepEqual([turn.items.length, turn.left, turn.at.size], [500, 1500, 500]);
  for (let id = 2001; id < 2100; id += 1) take(turn, { id, type: "text", part_id: "p", text: "x".repeat(10_000) });
  assert.deepEqual([turn.items.at(-1).text.length, turn.items.at(-1).cut], [200_000, true]);
});

test("what a tool said and changed is text", () => {
  assert.equal(output({ raw_output: { output: "x", metadata: {} } }), "x");
  assert.equal(output({ raw_output: { error: "no" } }), "no");
  assert.equal(output({ raw_output: { a: 1 } }), '{\n  "a": 1\n}');
  assert.equal(output({ raw_output: null }), undefined);
  assert.deepEqual(diffLines({ patch: "--- a\n+++ b\n@@ -1 +1 @@\n-one\n+two\n" }), [["@", "@@ -1 +1 @@"], ["-", "one"], ["+", "two"]]);
  assert.deepEqual(diffLines({ old_text: "a\n", new_text: "b\nc" }), [["-", "a"], ["+", "b"], ["+", "c"]]);
  assert.deepEqual(diffLines({ new_text: "n" }), [["+", "n"]]);
});

const sample = (second, pss, generation = 1) => ({ at: new Date(second * 1000).toISOString(), pss, rss: 2 * pss, anonymous: 1, swap: 2, generation });

test("a plot has a gap where nothing ran, and its figures in words", () => {
  const samples = [sample(10, 1), sample(20, 5), sample(30, 3), sample(200, 2, 2)];
  assert.deepEqual(columns(samples, "pss"), [[10, 20, 30, 115, 200], [1, 5, 3, null, 2]]);
  assert.deepEqual(columns([], "pss"), [[], []]);
  const { now, peak, least, peakAt } = figures(samples, "pss");
  assert.deepEqual([now, peak, least, peakAt], [2, 5, 1, samples[1].at]);
  assert.equal(figures([], "pss"), null);
  assert.equal(figures(samples, "private").now, 3);
});

test("samples are joined once, and forgotten when they are too old", () => {
  const [a, b, c] = [sample(100, 1), sample(110, 2), sample(120, 3)];
  assert.deepEqual(joined([a, b], [b, c], 1000, 121_000), [a, b, c]);
  assert.deepEqual(joined([a, b], [c], 15, 121_000), [b, c]);
});
