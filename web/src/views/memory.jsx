// What each backend uses, over time.

import { useEffect, useMemo, useState } from "preact/hooks";
import { get } from "../api.js";
import { bytes, span } from "../format.js";
import { Plot } from "../plot.jsx";
import { columns, figures, joined, METRICS, RANGES } from "../samples.js";
import { poll } from "../store.js";
import { Ago, Choice, Empty, Problem, RepoName, State, Table, View } from "../ui.jsx";

const EVERY = 5000;
const POINTS = 360;

/** Samples of these repos, kept up to date. */
export function useSamples(ids, seconds) {
  const [state, setState] = useState({ samples: new Map(), error: null, at: Date.now(), loaded: false });
  const key = ids.join(" ");
  useEffect(() => {
    const samples = new Map();
    setState((old) => ({ ...old, samples, loaded: false }));
    const load = (signal) => Promise.all(ids.map(async (id) => {
      const known = samples.get(id) ?? [];
      const since = new Date(Date.now() - seconds * 1000).toISOString();
      // Begun anew when it has grown, so that it is thinned again.
      const kept = known.length > 3 * POINTS ? [] : known;
      const after = kept.at(-1)?.at ?? since;
      const { samples: more } = await get("/v1/memory", { repo_id: id, after, points: POINTS }, signal);
      return [id, joined(kept, more, seconds)];
    }));
    const take = (all) => {
      for (const [id, one] of all) samples.set(id, one);
      setState({ samples: new Map(samples), error: null, at: Date.now(), loaded: true });
    };
    const fail = (error) => setState((old) => ({ ...old, error }));
    return poll(load, take, fail, EVERY).stop;
  }, [key, seconds]);
  return state;
}

function words(name, facts, metric) {
  if (!facts) return `${name}: nothing was measured in this time`;
  return `${METRICS[metric].label} of ${name}: now ${bytes(facts.now)}, at most ${bytes(facts.peak)}`
    + ` at ${new Date(facts.peakAt).toLocaleTimeString()}, at least ${bytes(facts.least)}`;
}

export function Card({ id, state, samples, metric, seconds, now, most, heading = true }) {
  const facts = figures(samples, metric);
  const data = useMemo(() => columns(samples, metric), [samples, metric]);
  const to = now / 1000;
  return (
    <figure class="card">
      <figcaption>
        {heading && <h2><RepoName id={id} /> <State name={state} /></h2>}
        <dl class="facts">
          <div><dt>now</dt><dd>{state === "hibernated" || state === "stopped" || !facts ? "–" : bytes(facts.now)}</dd></div>
          <div><dt>peak</dt><dd>{bytes(facts?.peak)}</dd></div>
          <div><dt>least</dt><dd>{bytes(facts?.least)}</dd></div>
        </dl>
        {facts?.growing && (
          <p class="finding"><State name="warning" bare /> grows steadily, {bytes(facts.growing.bytes_per_hour)} an hour; it is recycled when idle</p>
        )}
      </figcaption>
      {facts ? <Plot columns={data} from={to - seconds} to={to} most={most ?? facts.peak} says={words(id, facts, metric)} />
        : <p class="plot none">nothing was measured in this time</p>}
    </figure>
  );
}

/** The last samples, in figures. */
export function Figures({ samples }) {
  const last = samples.slice(-30).reverse();
  const head = ["When", ["Generation", "number"], ["PSS", "number"], ["RSS", "number"], ["Anonymous", "number"], ["Swap", "number"],
    ["Processes", "number"], ["Threads", "number"], ["Open files", "number"], ["inotify", "number"]];
  return (
    <Table label="The last measurements" head={head}>
      {last.map((it) => (
        <tr key={it.at}>
          <td><Ago at={it.at} /></td><td class="number">{it.generation}</td>
          {[it.pss, it.rss, it.anonymous, it.swap].map((size) => <td class="number">{bytes(size)}</td>)}
          {[it.processes, it.threads, it.fds, it.inotify_watches].map((n) => <td class="number">{n}</td>)}
        </tr>
      ))}
    </Table>
  );
}

export function Controls({ range, setRange, metric, setMetric }) {
  return (
    <div class="controls">
      <Choice label="Span" options={Object.keys(RANGES).map((name) => [name, name])} value={range} onChange={setRange} />
      <label class="select"><span>Show</span>
        <select value={metric} onChange={(event) => setMetric(event.currentTarget.value)}>
          {Object.entries(METRICS).map(([id, { label }]) => <option key={id} value={id}>{label}</option>)}
        </select>
      </label>
    </div>
  );
}

export function Memory({ overview }) {
  const [range, setRange] = useState("1 h");
  const [metric, setMetric] = useState("pss");
  const [shared, setShared] = useState(true);
  const repos = overview.repos.filter((repo) => repo.root);
  const seconds = RANGES[range];
  const { samples, error, at, loaded } = useSamples(repos.map((repo) => repo.repo_id), seconds);
  const peaks = [...samples.values()].map((one) => figures(one, metric)?.peak ?? 0);
  const used = repos.filter((repo) => repo.rss_bytes).length;
  const controls = (
    <Controls range={range} setRange={setRange} metric={metric} setMetric={setMetric} />
  );
  return (
    <View title="Memory" aside={controls}>
      {error && <Problem error={error} />}
      {repos.length === 0 ? <Empty title="No repository is known yet">`repod up PATH` brings one up; what it uses is measured from then on.</Empty> : (
        <>
          <p class="line">
            {used} of {repos.length} backends run. Measured by process tree; a gap is a time without a backend.{" "}
            <label class="check"><input type="checkbox" checked={shared} onChange={(event) => setShared(event.currentTarget.checked)} /> one scale for all</label>
          </p>
          <div class="cards" aria-busy={!loaded}>
            {repos.map((repo) => (
              <Card key={repo.repo_id} id={repo.repo_id} state={repo.state} samples={samples.get(repo.repo_id) ?? []} metric={metric}
                seconds={seconds} now={at} most={shared ? Math.max(...peaks, 1) : undefined} />
            ))}
          </div>
          <p class="line soft">The last {span(seconds)}; asked again every {EVERY / 1000} s while this page is looked at.</p>
        </>
      )}
    </View>
  );
}
