// Talking to the daemon. The pass lives in this tab's own storage: it is never a cookie, which a browser would
// send to every other port of this machine as well.

const KEPT = "repod.pass";

let pass = sessionStorage.getItem(KEPT);
let onLost = () => {};

/** Whether somebody has logged in here. */
export const isLoggedIn = () => pass !== null;

/** Who is told when the pass is no longer good. */
export const whenLost = (tell) => { onLost = tell; };

/** What the daemon has against it, as it says it. */
export class Refusal extends Error {
  constructor(status, { code, message, hint, details } = {}) {
    super(message ?? `the daemon answered with status ${status}`);
    Object.assign(this, { status, code, hint, details });
  }
}

const keep = (value) => {
  pass = value;
  if (value === null) sessionStorage.removeItem(KEPT);
  else sessionStorage.setItem(KEPT, value);
};

async function refusal(response) {
  const body = await response.json().catch(() => ({}));
  return new Refusal(response.status, body.error);
}

async function ask(path, init = {}) {
  const headers = { ...init.headers, ...(pass && { authorization: `Bearer ${pass}` }) };
  const response = await fetch(path, { ...init, headers, cache: "no-store", redirect: "error" });
  if (response.ok) return response;
  const refused = await refusal(response);
  if (response.status === 401 && path.startsWith("/v1/") && pass !== null) {
    keep(null);
    onLost();
  }
  throw refused;
}

/** Exchanges an invitation for a pass. */
export async function login(invitation) {
  keep(null);
  const response = await ask("/login", { method: "POST", body: JSON.stringify({ invitation }) });
  keep((await response.json()).pass);
}

/** Gives the pass back. */
export async function logout() {
  await ask("/logout", { method: "POST" }).catch(() => {});
  keep(null);
}

/** A path with its query; what is undefined is left out. */
export function withQuery(path, query = {}) {
  const wanted = Object.entries(query).filter(([, value]) => value !== undefined && value !== null);
  const text = new URLSearchParams(wanted).toString();
  return text ? `${path}?${text}` : path;
}

/** One answer. */
export const get = async (path, query, signal) => (await ask(withQuery(path, query), { signal })).json();

/** Something to be done. */
export const post = async (path, body) =>
  (await ask(path, { method: "POST", body: JSON.stringify(body) })).json();

/** A stream of JSON documents, one a line, each given to `each`. Returns at its end. */
export async function lines(path, query, each, signal) {
  const headers = { accept: "application/x-ndjson" };
  const response = await ask(withQuery(path, query), { headers, signal });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    const parts = (rest + (value ?? "")).split("\n");
    rest = done ? "" : parts.pop();
    for (const line of parts) if (line.trim()) each(JSON.parse(line));
    if (done) return;
  }
}
