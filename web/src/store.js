// What every view needs, asked for again and again: repos, leases, sessions. Paused while nobody looks.

import { useEffect, useRef, useState } from "preact/hooks";
import { get } from "./api.js";
import { pause } from "./pace.js";

/**
 * Asks again and again, as long as somebody looks. `load` gets a signal; what it answers is told to `take`,
 * what goes wrong to `fail`.
 * @returns what stops it, and what asks at once
 */
export function poll(load, take, fail, slower = 0) {
  const controller = new AbortController();
  let timer = 0;
  let failures = 0;
  let running = false;
  const wake = () => {
    clearTimeout(timer);
    if (!running && !controller.signal.aborted && !document.hidden) void round();
  };
  const round = async () => {
    running = true;
    const began = performance.now();
    try {
      const answer = await load(controller.signal);
      failures = 0;
      if (!controller.signal.aborted) take(answer);
    } catch (error) {
      failures += 1;
      if (!controller.signal.aborted) fail(error, pause(failures));
    }
    running = false;
    const wait = Math.max(slower, pause(failures, performance.now() - began));
    if (!document.hidden && !controller.signal.aborted) timer = setTimeout(wake, wait);
  };
  document.addEventListener("visibilitychange", wake);
  wake();
  const stop = () => {
    controller.abort();
    clearTimeout(timer);
    document.removeEventListener("visibilitychange", wake);
  };
  return { stop, wake };
}

/** What is there to be seen everywhere. */
export function useOverview() {
  const [overview, setOverview] = useState(null);
  const [trouble, setTrouble] = useState(null);
  const polling = useRef(null);
  useEffect(() => {
    const load = async (signal) => {
      const [daemon, repos, leases, sessions] = await Promise.all(
        ["/v1/version", "/v1/ps", "/v1/leases", "/v1/sessions"].map((path) => get(path, {}, signal)));
      return { daemon, repos, leases, sessions };
    };
    const take = (fresh) => { setOverview(fresh); setTrouble(null); };
    const fail = (error, wait) => setTrouble((old) => ({ error, since: old?.since ?? new Date(), wait }));
    polling.current = poll(load, take, fail);
    return polling.current.stop;
  }, []);
  return { overview, trouble, again: () => polling.current?.wake() };
}

/** One thing that a view needs, asked for again and again. */
export function usePolled(load, keys, slower = 0) {
  const [state, setState] = useState({ value: null, error: null });
  useEffect(() => {
    setState({ value: null, error: null });
    const polling = poll(load, (value) => setState({ value, error: null }),
      (error) => setState((old) => ({ ...old, error })), slower);
    return polling.stop;
  }, keys);
  return state;
}
