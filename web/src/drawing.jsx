// A graph, drawn. Its nodes and edges can be reached by keyboard where something can be done with them.

import { cut } from "./format.js";
import { layout, NODE } from "./graph.js";
import { Shape, stateOf } from "./ui.jsx";

const press = (act) => (event) => {
  if (event.key === "Enter" || event.key === " ") { event.preventDefault(); act(); }
};

/**
 * @param nodes `{id, title, under}`
 * @param edges `{from, to, label, state, says, chosen}`
 */
export function Drawing({ label, nodes, edges, onEdge }) {
  const { width, height, nodes: placed, edges: ways } = layout(nodes.map(({ id }) => id), edges);
  const known = new Map(nodes.map((node) => [node.id, node]));
  const chosen = edges.some((edge) => edge.chosen);
  return (
    <div class="drawing" role="group" aria-label={label} tabIndex={0}>
      <svg width={width + 2} height={height} viewBox={`-1 0 ${width + 2} ${height}`}>
        <defs>
          {["good", "warn", "bad", "quiet", "info"].map((tone) => (
            <marker key={tone} id={`arrow-${tone}`} class={`arrow ${tone}`} viewBox="0 0 8 8" refX="7" refY="4"
              markerWidth="8" markerHeight="8" markerUnits="userSpaceOnUse" orient="auto"><path d="M0 0l8 4l-8 4z" /></marker>
          ))}
        </defs>
        {ways.map((edge) => {
          const [shape, tone] = stateOf(edge.state);
          const act = onEdge && (() => onEdge(edge));
          const [x, y] = edge.middle;
          const text = cut(String(edge.label), 12);
          const size = 26 + text.length * 7.4;
          return (
            <g key={`${edge.from} ${edge.to}`} class={`edge ${tone} ${edge.state} ${chosen && !edge.chosen ? "faint" : ""}`}
              role={act ? "button" : "img"} tabindex={act ? 0 : undefined} aria-label={edge.says}
              aria-pressed={act ? Boolean(edge.chosen) : undefined} onClick={act} onKeyDown={act && press(act)}>
              <path class="reach" d={edge.path} />
              <path class="line" d={edge.path} marker-end={`url(#arrow-${tone})`} />
              <rect class="label" x={x - size / 2} y={y - 10} width={size} height="20" rx="10" />
              <svg class={`state ${tone}`} x={x - size / 2 + 5} y={y - 6} width="12" height="12" overflow="visible"><Shape name={shape} /></svg>
              <text x={x - size / 2 + 20} y={y + 4}>{text}</text>
            </g>
          );
        })}
        {placed.map(({ id, x, y }) => {
          const node = known.get(id);
          return (
            <g key={id} class="node" role="img" aria-label={`${node.title}${node.under ? `, ${node.under}` : ""}`}
              transform={`translate(${x} ${y})`}>
              <title>{node.title}</title>
              <rect width={NODE.width} height={NODE.height} rx="6" />
              <text x="12" y={node.under ? 17 : 25} class="name">{cut(node.title, 18)}</text>
              {node.under && <text x="12" y="32" class="under">{cut(node.under, 24)}</text>}
            </g>
          );
        })}
      </svg>
    </div>
  );
}
