// How often the daemon is asked. Pure.

export const EVERY = 2000;
const MOST = 30_000;
/** An answer may take at most this part of the time. */
const SHARE = 5;

/** How long to wait before asking again: longer after failures, and when answers take long. */
export function pause(failures, took = 0) {
  if (failures > 0) return Math.min(MOST, EVERY * 2 ** Math.min(failures - 1, 10));
  return Math.min(MOST, Math.max(EVERY, (SHARE - 1) * took));
}
