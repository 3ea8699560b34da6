// What the memory log says, made ready to be drawn. Pure.

/** What can be looked at. */
export const METRICS = {
  pss: { label: "Fair share (PSS)", of: ({ pss }) => pss },
  rss: { label: "Resident (RSS)", of: ({ rss }) => rss },
  private: { label: "Anonymous and swapped", of: ({ anonymous, swap }) => anonymous + swap },
};

/** Spans, in seconds. */
export const RANGES = { "15 min": 900, "1 h": 3600, "6 h": 21_600, "24 h": 86_400, "4 d": 345_600 };

/** Samples in order, each moment once, none older than the span. */
export function joined(old, more, seconds, now = Date.now()) {
  const from = now - seconds * 1000;
  const last = old.at(-1)?.at ?? "";
  return [...old, ...more.filter(({ at }) => at > last)].filter(({ at }) => Date.parse(at) >= from);
}

/** Columns for the plot: moments in seconds, and values. Where nothing ran for a while there is a gap. */
export function columns(samples, metric) {
  const moments = [];
  const values = [];
  const steps = samples.slice(1).map((sample, at) => Date.parse(sample.at) - Date.parse(samples[at].at));
  const usual = [...steps].sort((a, b) => a - b)[Math.floor(steps.length / 2)] ?? 0;
  samples.forEach((sample, at) => {
    const before = samples[at - 1];
    const silent = at > 0 && steps[at - 1] > 5 * usual + 5000;
    if (before && (silent || before.generation !== sample.generation)) {
      moments.push((Date.parse(before.at) + Date.parse(sample.at)) / 2000);
      values.push(null);
    }
    moments.push(Date.parse(sample.at) / 1000);
    values.push(METRICS[metric].of(sample));
  });
  return [moments, values];
}

/** The figures of a plot, for those who don't see it. */
export function figures(samples, metric) {
  if (samples.length === 0) return null;
  const value = METRICS[metric].of;
  const peak = samples.reduce((a, b) => (value(b) > value(a) ? b : a));
  const least = Math.min(...samples.map(value));
  const last = samples.at(-1);
  return { now: value(last), last: last.at, peak: value(peak), peakAt: peak.at, least, growing: last.growing ?? null };
}
