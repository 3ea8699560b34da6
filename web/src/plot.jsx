// One plot of memory over time.

import { useEffect, useRef, useState } from "preact/hooks";
import uPlot from "uplot";
import { bytes } from "./format.js";

const HEIGHT = 150;
/** Sizes at which a line is drawn: no more than five of them. */
function steps(_plot, _axis, least, most) {
  let step = 2 ** 20;
  while ((most - least) / step > 4.5) step *= 2;
  const all = [];
  for (let at = Math.ceil(least / step) * step; at <= most; at += step) all.push(at);
  return all;
}

/** Hours and minutes; the day where it begins. */
function moments(_plot, all) {
  return all.map((second) => {
    const at = new Date(second * 1000);
    const two = (number) => String(number).padStart(2, "0");
    if (at.getHours() + at.getMinutes() + at.getSeconds() === 0) return at.toLocaleDateString(undefined, { day: "numeric", month: "short" });
    const minutes = `${two(at.getHours())}:${two(at.getMinutes())}`;
    return at.getSeconds() ? `${minutes}:${two(at.getSeconds())}` : minutes;
  });
}

const colours = (element) => {
  const style = getComputedStyle(element);
  const of = (name) => {
    // A colour that depends on the scheme is computed by the browser, not by the canvas.
    const probe = document.createElement("span");
    probe.style.color = `var(${name})`;
    element.append(probe);
    const colour = getComputedStyle(probe).color;
    probe.remove();
    return colour;
  };
  return { font: `11px ${style.fontFamily}`, line: of("--plot"), fill: of("--plot-fill"), text: of("--soft"), grid: of("--rule") };
};

export function Plot({ columns, from, to, most, says }) {
  const place = useRef(null);
  const plot = useRef(null);
  const [under, setUnder] = useState(null);
  const scale = useRef(null);
  scale.current = { from, to, most };
  const shown = useRef(columns);
  shown.current = columns;
  useEffect(() => {
    const element = place.current;
    const wide = () => Math.max(160, element.clientWidth);
    const make = () => {
      plot.current?.destroy();
      const { font, line, fill, text, grid } = colours(element);
      const axis = { stroke: text, font, grid: { stroke: grid, width: 1 }, ticks: { show: false } };
      plot.current = new uPlot({
        width: wide(),
        height: HEIGHT,
        padding: [8, 18, 0, 0],
        legend: { show: false },
        cursor: { y: false, points: { size: 6 }, drag: { x: false, y: false } },
        scales: {
          x: { range: () => [scale.current.from, scale.current.to] },
          y: { range: () => [0, Math.max(2 ** 22, scale.current.most * 1.08)] },
        },
        axes: [
          { ...axis, size: 24, space: 56, values: moments },
          { ...axis, size: 62, splits: steps, values: (_plot, all) => all.map((size) => (size ? bytes(size) : "0")) },
        ],
        series: [{}, { stroke: line, fill, width: 1.5, points: { show: false }, spanGaps: false }],
        hooks: { setCursor: [({ cursor: { idx }, data }) => {
          const value = idx === null || idx === undefined ? null : data[1][idx];
          setUnder(value ? `${new Date(data[0][idx] * 1000).toLocaleTimeString()}: ${bytes(value)}` : null);
        }] },
      }, shown.current, element);
    };
    make();
    const resized = new ResizeObserver(() => {
      const width = wide();
      if (plot.current && plot.current.width !== width) plot.current.setSize({ width, height: HEIGHT });
    });
    resized.observe(element);
    const dark = matchMedia("(prefers-color-scheme: dark)");
    dark.addEventListener("change", make);
    document.addEventListener("repod-theme", make);
    return () => {
      resized.disconnect();
      dark.removeEventListener("change", make);
      document.removeEventListener("repod-theme", make);
      plot.current.destroy();
      plot.current = null;
    };
  }, []);
  useEffect(() => { plot.current?.setData(columns); }, [columns, from, to, most]);
  return (
    <>
      <div class="plot" ref={place} role="img" aria-label={says} />
      <p class="under-cursor" aria-hidden="true">{under ?? "\u00a0"}</p>
    </>
  );
}
