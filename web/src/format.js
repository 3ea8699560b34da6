// Numbers, spans and names as people read them. Pure.

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];

/** A size: three figures and its unit. */
export function bytes(size) {
  if (size === null || size === undefined) return "–";
  let at = 0;
  let value = size;
  while (value >= 1023.5 && at < UNITS.length - 1) { value /= 1024; at += 1; }
  const figures = at === 0 || value >= 99.5 ? 0 : value >= 9.95 ? 1 : 2;
  return `${value.toFixed(figures)} ${UNITS[at]}`;
}

/** A span of seconds in its two largest units. */
export function span(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  const whole = Math.max(0, Math.round(seconds));
  const parts = [[Math.floor(whole / 86400), "d"], [Math.floor(whole / 3600) % 24, "h"],
    [Math.floor(whole / 60) % 60, "min"], [whole % 60, "s"]];
  const first = parts.findIndex(([count]) => count > 0);
  if (first < 0) return "0 s";
  const shown = parts.slice(first, first + (first === 0 || first === 1 ? 2 : 1));
  return shown.filter(([count]) => count > 0).map(([count, unit]) => `${count} ${unit}`).join(" ");
}

/** How long ago a moment was. */
export function ago(at, now = Date.now()) {
  const seconds = (now - Date.parse(at)) / 1000;
  if (Number.isNaN(seconds)) return "–";
  return seconds < 5 ? "just now" : `${span(seconds)} ago`;
}

/** A repo's id in two parts: its name, and what makes it one of its kind. */
export function named(repoId) {
  const cut = repoId.lastIndexOf("-");
  return cut < 1 ? [repoId, ""] : [repoId.slice(0, cut), repoId.slice(cut + 1)];
}

/** `1 repo`, `2 repos`. */
export const count = (number, one, many = `${one}s`) => `${number} ${number === 1 ? one : many}`;

/** A text that is not longer than that. */
export const cut = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
