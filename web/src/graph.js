// A layered drawing of a directed graph, from left to right. Pure, and always the same for the same graph.
//
// Edges that lead back (circles are allowed) run below everything; an edge that passes a layer has a place of
// its own there, so that it runs between the nodes and not over them.

export const NODE = { width: 172, height: 40 };
const GAP = { x: 116, y: 18 };
const LOOP = 28;
/** Edges that lead back run through the gaps and below everything, each in a lane of its own. */
const LANE = 7;
const ROUND = 8;
const SWEEPS = 6;
/** A label with some air, as tall as it is and as wide as it usually is. */
const LABEL = { width: 46, height: 22 };

/**
 * @param {string[]} ids
 * @param {{from: string, to: string}[]} edges each pair once
 * @returns {{width: number, height: number, nodes: {id, x, y}[], edges: {from, to, back, path, middle: [number, number]}[]}}
 */
export function layout(ids, edges) {
  const rank = ranks(ids, edges);
  const forward = edges.filter(({ from, to }) => rank.get(from) < rank.get(to));
  const layer = layers(ids, forward, rank);
  const chains = new Map(forward.map((edge) => [edge, chain(edge, layer)]));
  const columns = order(ids, layer, [...chains.values()]);
  const tallest = Math.max(0, ...columns.map(tall));
  const backs = edges.filter(({ from, to }) => from !== to && rank.get(from) > rank.get(to));
  const side = backs.length ? 20 + backs.length * LANE : 0;
  const place = new Map();
  columns.forEach((column, at) => {
    let y = (tallest - tall(column)) / 2 + LOOP;
    for (const id of column) {
      const height = isBetween(id) ? GAP.y : NODE.height;
      place.set(id, { x: side + at * (NODE.width + GAP.x), y, height });
      y += height + GAP.y;
    }
  });
  const floor = tallest + LOOP + 14;
  const taken = ids.map((id) => ({ ...place.get(id), width: NODE.width }));
  const ways = new Map(edges.map((edge) => [edge, chains.has(edge) ? through(chains.get(edge).map((id) => place.get(id)))
      : edge.from === edge.to ? around(place.get(edge.from)) : back(place.get(edge.from), place.get(edge.to), floor, backs.indexOf(edge))]));
  // Those with the least choice choose first.
  const middle = new Map([...edges].sort((a, b) => ways.get(a).spots.length - ways.get(b).spots.length)
    .map((edge) => [edge, free(ways.get(edge).spots, taken)]));
  const drawn = edges.map((edge) => ({ ...edge, back: !chains.has(edge), path: ways.get(edge).path, middle: middle.get(edge) }));
  return {
    width: columns.length ? columns.length * (NODE.width + GAP.x) - GAP.x + 2 * side : 0,
    height: tallest + LOOP + (backs.length ? 36 + backs.length * LABEL.height : 8),
    nodes: ids.map((id) => ({ id, x: place.get(id).x, y: place.get(id).y })),
    edges: drawn,
  };
}

const isBetween = (id) => id.includes("\0");

/** The first of these spots where a label covers nothing; it is taken then. */
function free(spots, taken) {
  const box = ([x, y]) => ({ x: x - LABEL.width / 2, y: y - LABEL.height / 2, width: LABEL.width, height: LABEL.height });
  const covers = (one, other) => one.x < other.x + other.width && other.x < one.x + one.width
    && one.y < other.y + other.height && other.y < one.y + one.height;
  const spot = spots.find((at) => !taken.some((other) => covers(box(at), other))) ?? spots[0];
  taken.push(box(spot));
  return spot;
}

/** An order in which few edges lead back: who gives more than it gets comes first. */
function ranks(ids, edges) {
  const left = new Set(ids);
  const first = [];
  const last = [];
  const degree = (id, side, other) =>
    edges.filter((edge) => edge[side] === id && edge[other] !== id && left.has(edge[other])).length;
  while (left.size) {
    let sink;
    while ((sink = [...left].find((id) => degree(id, "from", "to") === 0 && degree(id, "to", "from") > 0))) {
      last.unshift(sink);
      left.delete(sink);
    }
    const score = (id) => degree(id, "from", "to") - degree(id, "to", "from");
    const best = [...left].reduce((a, b) => (a === undefined || score(b) > score(a) ? b : a), undefined);
    if (best !== undefined) {
      first.push(best);
      left.delete(best);
    }
  }
  return new Map([...first, ...last].map((id, at) => [id, at]));
}

/** The layer of each: one more than the last of those that lead to it. */
function layers(ids, forward, rank) {
  const layer = new Map(ids.map((id) => [id, 0]));
  for (const id of [...ids].sort((a, b) => rank.get(a) - rank.get(b)))
    for (const { from, to } of forward)
      if (from === id) layer.set(to, Math.max(layer.get(to), layer.get(id) + 1));
  return layer;
}

/** The edge's way, with a place in each layer between. */
function chain({ from, to }, layer) {
  const between = [];
  for (let at = layer.get(from) + 1; at < layer.get(to); at += 1) {
    const id = `${from}\0${to}\0${at}`;
    layer.set(id, at);
    between.push(id);
  }
  return [from, ...between, to];
}

/** Who stands above whom: near the middle of those it is connected with. */
function order(ids, layer, chains) {
  const columns = [];
  for (const [id, at] of layer) (columns[at] ??= []).push(id);
  const near = new Map([...layer.keys()].map((id) => [id, []]));
  for (const way of chains)
    way.slice(1).forEach((id, at) => { near.get(id).push(way[at]); near.get(way[at]).push(id); });
  for (let sweep = 0; sweep < SWEEPS; sweep += 1) {
    const down = sweep % 2 === 0;
    for (let step = 1; step < columns.length; step += 1) {
      const at = down ? step : columns.length - 1 - step;
      const beside = new Map(columns[down ? at - 1 : at + 1].map((id, row) => [id, row]));
      const old = new Map(columns[at].map((id, row) => [id, row]));
      const middle = (id) => {
        const rows = near.get(id).filter((other) => beside.has(other)).map((other) => beside.get(other));
        return rows.length ? rows.reduce((a, b) => a + b) / rows.length : old.get(id);
      };
      const wanted = new Map(columns[at].map((id) => [id, middle(id)]));
      columns[at].sort((a, b) => wanted.get(a) - wanted.get(b) || old.get(a) - old.get(b));
    }
  }
  return columns;
}

const tall = (column) => column.reduce((sum, id) => sum + (isBetween(id) ? GAP.y : NODE.height) + GAP.y, -GAP.y);

/** Where on a curve, in tries: the middle first. */
const TRIES = [0.5, 0.62, 0.38, 0.74, 0.26];

function through(places) {
  const points = places.map(({ x, y, height }, at) => {
    const middle = y + height / 2;
    if (at === 0) return [[x + NODE.width, middle]];
    return at === places.length - 1 ? [[x, middle]] : [[x, middle], [x + NODE.width, middle]];
  }).flat();
  let path = `M${points[0].join(" ")}`;
  const spots = [];
  for (let at = 1; at < points.length; at += 1) {
    const [[x0, y0], [x1, y1]] = [points[at - 1], points[at]];
    const bend = (x1 - x0) / 2;
    path += ` C${x0 + bend} ${y0} ${x1 - bend} ${y1} ${x1} ${y1}`;
    for (const t of TRIES) spots.push([bezier(t, x0, x0 + bend, x1 - bend, x1), bezier(t, y0, y0, y1, y1)]);
  }
  return { path, spots };
}

const bezier = (t, a, b, c, d) => (1 - t) ** 3 * a + 3 * (1 - t) ** 2 * t * b + 3 * (1 - t) * t ** 2 * c + t ** 3 * d;

/** From a node to itself: over it. */
function around({ x: left, y }) {
  const x = left + NODE.width / 2;
  return { path: `M${x - 24} ${y} C${x - 24} ${y - LOOP} ${x + 24} ${y - LOOP} ${x + 24} ${y}`, spots: [[x, y - LOOP * 0.7]] };
}

/** Out to the right, down, below everything, up, and in from the left. */
function back(a, b, floor, nth) {
  const [x0, y0, x1, y1] = [a.x + NODE.width, a.y + a.height / 2 + 8, b.x, b.y + b.height / 2 + 8];
  const [right, left, low] = [x0 + 14 + nth * LANE, x1 - 18 - nth * LANE, floor + nth * LABEL.height];
  const path = `M${x0} ${y0} H${right - ROUND} Q${right} ${y0} ${right} ${y0 + ROUND} V${low - ROUND} Q${right} ${low} ${right - ROUND} ${low}`
    + ` H${left + ROUND} Q${left} ${low} ${left} ${low - ROUND} V${y1 + ROUND} Q${left} ${y1} ${left + ROUND} ${y1} H${x1}`;
  return { path, spots: TRIES.map((t) => [left + (right - left) * t, low]) };
}
