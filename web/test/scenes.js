// What a daemon might answer: nothing at all, and twelve repos in every state there is.

const daemon = { version: "0.1.0", pid: 4242, home: "/home/me/.opencode", started_at: "2026-01-05T08:00:00Z", nofile: 65535, repos: 0 };
const MiB = 2 ** 20;

const clean = { findings: [], checked: [{ id: "A101", findings: 0 }, { id: "A102", findings: 0 }], skipped: [] };

export const none = () => ({
  "GET /v1/version": daemon, "GET /v1/ps": [], "GET /v1/leases": [], "GET /v1/activity": { at: before(0), repos: [], leases: [] }, "GET /v1/sessions": [], "GET /v1/mutations": [], "GET /v1/audit": clean,
});

const before = (seconds) => new Date(Date.now() - seconds * 1000).toISOString();
const NAMES = ["web", "api", "infra", "design-system", "billing", "mobile", "docs", "search", "auth", "data-pipeline", "playground", "a-repository-with-a-rather-long-name"];
const STATES = ["ready", "ready", "ready", "ready", "hibernated", "ready", "starting", "unresponsive", "hibernated", "failed", "stopped", "ready"];
const idOf = (name) => `${name}-${[...name].reduce((sum, c) => (sum * 31 + c.charCodeAt(0)) % 0xffffffff, 7).toString(16).padStart(8, "0")}3f2a`;
export const IDS = NAMES.map(idOf);

function repo(name, at) {
  const state = STATES[at];
  const live = ["ready", "starting", "unresponsive"].includes(state);
  const ready = state === "ready";
  return {
    repo_id: IDS[at], root: `/home/me/src/${name}`, directory: `/home/me/src/${name}`, branch: at % 4 === 3 ? "feature/a-longer-branch" : "main",
    url: `http://127.0.0.1:${41000 + at}`, username: "opencode", capability_url: null, state, generation: 1 + (at * 7) % 5,
    backend: live ? { pid: 4711 + at, port: 40000 + at, version: "1.18.33", started_at: before(7000 + at * 977) } : null,
    ...(at === 5 && { warnings: ["the limit of open files is 1024, and could not be raised to 65535"] }),
    rss_bytes: live ? (230 + ((at * 137) % 700)) * MiB : null, sessions: ready ? 3 + at : null, busy: ready ? [2, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0][at] : null,
    clients: live ? at % 3 : null, idle_seconds: ready && at > 1 && at !== 5 ? 40 + at * 511 : null,
    ...(state === "failed" && { error: { code: "backend_parked", message: "5 starts within 60 s did not come up", hint: "`repod logs` shows why", details: { log_tail: "Error: invalid configuration\n  at opencode.json:14:3\n  unknown key `modle`" } } }),
  };
}

const session = (at, id, title, status, more = {}) => ({
  session_id: id, repo_id: IDS[at], directory: `/home/me/src/${NAMES[at]}`, backend: "opencode", agent: "build", model: "anthropic/claude-sonnet-4-5",
  agent_session_id: `ses_${id}`, generation: 2, status, queued: 0, created_at: before(9000), last_active_at: before(30 + at * 400), title, ...more,
});

const lease = (at, branch, owner, waiters, more = {}) => ({
  repo_id: IDS[at], branch, fence: 40 + at, since: before(95), state: "held",
  owner: { session_id: `ses_${owner[0]}`, root_session_id: `ses_${owner[0]}`, title: owner[1], directory: `/home/me/src/${NAMES[at]}`, kind: owner[2] ?? "session", repo_id: IDS[at] },
  calls: [{ call_id: "c1", session_id: `ses_${owner[0]}`, what: "edit src/router.ts", worktree: "/home/me/src", state: "running", since: before(4) }],
  waiters: waiters.map(([id, title], n) => ({ session_id: `ses_${id}`, root_session_id: `ses_${id}`, title, since: before(60 - n * 9), position: n + 1, calls: n + 1 })), ...more,
});

const mutation = (n, from, to, outcome, files, more = {}) => ({
  operation_id: `op${n}`, at: before(n * 233), from: { repo_id: from === null ? null : IDS[from], session_id: from === null ? "mcp:claude-code" : `ses_${n}` },
  to: { repo_id: IDS[to], branch: "main", directory: `/home/me/src/${NAMES[to]}` }, tool: ["edit", "write", "apply_patch", "bash"][n % 4], files, outcome, fence: 12 + n, ...more,
});

const finding = (id, severity, title, message, evidence, fix) => ({ id, severity, title, message, evidence, fix });

/** A wavering line of memory; one of them grows, another slept for a while. */
function samples(at, after) {
  const all = [];
  for (let second = 3600; second >= 0; second -= 20) {
    if (at === 2 && second < 2400 && second > 1300) continue;
    const rss = (280 + ((at * 137) % 600) + 60 * Math.sin(second / (240 + at * 40)) + (at === 0 ? (3600 - second) / 9 : 0) + ((second * (at + 3)) % 17)) * MiB;
    const grown = at === 0 && second < 600 ? { growing: { bytes_per_hour: 390 * MiB, from_bytes: 300 * MiB, grown_bytes: 350 * MiB } } : {};
    all.push({ at: before(second), generation: at === 2 && second <= 1300 ? 3 : 2, rss: Math.round(rss), pss: Math.round(rss * 0.86), anonymous: Math.round(rss * 0.6), swap: 0,
      fds: 84 + at, threads: 31, inotify_watches: 1200, processes: 4, lsp: 1, mcp: 0, shells: 1, unread: 0, ...grown });
  }
  return all.filter((sample) => !after || sample.at > after);
}

const tool = (id, name, title, status, more = {}) => ({ id, title, kind: "edit", status, tool: name, raw_input: null, raw_output: null, locations: [], ...more });
let number = 0;
const event = (type, more) => ({ id: (number += 1), type, ...more });
const turn = [
  event("status", { state: "busy" }),
  event("reasoning", { text: "The router keeps the old path. I look at the test first.", part_id: "p1" }),
  event("text", { text: "I look at the failing test, then at the ", part_id: "p2" }),
  event("text", { text: "router.", part_id: "p2" }),
  event("tool_call", { tool_call: tool("t1", "bash", "npm test -- router", "in_progress", { raw_input: { command: "npm test -- router" } }) }),
  event("tool_update", { tool_call: tool("t1", "bash", "npm test -- router", "failed", { raw_input: { command: "npm test -- router" }, raw_output: { error: "1 failing\n  router › keeps the query\n  expected '?a=1', got ''" } }) }),
  event("tool_call", { tool_call: tool("t2", "edit", "src/router.ts", "completed", { raw_input: { filePath: "src/router.ts" }, raw_output: { output: "Edit applied." },
    diffs: [{ path: "src/router.ts", patch: "--- a/src/router.ts\n+++ b/src/router.ts\n@@ -12,3 +12,3 @@\n   const url = new URL(href);\n-  return url.pathname;\n+  return url.pathname + url.search;\n }\n" }] }) }),
  event("text", { text: "The query was dropped where the path is read. With it kept, the test passes.", part_id: "p3" }),
  event("permission", { request_id: "r1", session_id: "s", permission: "bash", patterns: ["git push origin main"], always: [], options: [] }),
  event("usage", { input_tokens: 4210, output_tokens: 388, reasoning_tokens: 51, cache_read_tokens: 20311, cache_write_tokens: 0, cost: 0.0213 }),
  event("turn", { outcome: "waiting" }),
];

const sessions = [
  session(0, "review", "Keep the query in the router", "waiting"), session(0, "nightly", "Nightly dependency check", "busy", { queued: 2 }),
  session(1, "api-docs", "Document the endpoints", "busy"), session(5, "crash", "Login screen", "crashed"), session(3, "tokens", "Colour tokens", "idle"), session(7, "x", "", "idle", { model: "" }),
];

export function twelve() {
  const detail = (url) => {
    const id = url.pathname.split("/").at(-1);
    const known = sessions.find((one) => one.session_id === id);
    if (!known) return { status: 404, error: { code: "session_not_found", message: `there is no session \`${id}\`` } };
    return { ...known, turns: [{ turn: 2, turn_id: "b", state: "waiting", prompt: "Keep the query when a link is followed, and run the tests.", begun_at: before(90), started_at: before(88) }, { turn: 1, turn_id: "a", state: "completed", prompt: "Look at the last commit.", begun_at: before(400), started_at: before(399), settled_at: before(330) }] };
  };
  const answers = {
    "GET /v1/version": { ...daemon, repos: 12 }, "GET /v1/ps": NAMES.map(repo), "GET /v1/sessions": sessions, "GET /v1/sessions/*": detail,
    "GET /v1/leases": [
      lease(0, "main", ["review", "Keep the query in the router"], [["nightly", "Nightly dependency check"], ["third", "Rename a prop"]]),
      lease(1, "main", ["api-docs", "Document the endpoints"], [["review", "Keep the query in the router"]]),
      lease(3, "feature/a-longer-branch", ["make", "make release", "outside"], [], { state: "taking", blocked_by: "pid 991 (git)", calls: [] }),
    ],
    "GET /v1/mutations": [
      mutation(1, 0, 1, "applied", ["src/openapi.json"]), mutation(2, 0, 1, "applied", ["src/types.ts", "src/a.ts", "src/b.ts", "src/c.ts", "src/d.ts", "src/e.ts"]), mutation(3, 1, 0, "applied", ["src/client.ts"]),
      mutation(4, 0, 3, "refused", ["tokens.css"], { message: "the user's rules refuse `edit` there" }), mutation(5, 2, 1, "pending", ["Dockerfile"]), mutation(6, 2, 4, "conflict", ["invoice.sql"], { message: "changed by somebody else since" }),
      mutation(7, 3, 5, "rolled_back", ["theme.kt"]), mutation(8, null, 6, "applied", ["index.md"]), mutation(9, 0, 6, "applied", ["guide.md"]), mutation(10, 5, 0, "bypass", ["README.md"], { fence: 0 }), mutation(11, 3, 6, "unchanged", ["a.md"]),
      mutation(12, 6, 6, "applied", ["route.md"]),
    ],
    "GET /v1/activity": { at: before(0), leases: [], repos: NAMES.map((name, at) => ({ ...repo(name, at), active: [
      ...(at === 0 ? [{ session_id: "ses_review", directory: "/home/me/src/web", status: "waiting" },
        { session_id: "ses_tui", title: "Tidy the stylesheet", directory: "/home/me/src/web", status: "waiting", doing: "permission", tool: { name: "bash", title: "npm run lint -- --fix" }, since: before(31) },
        { session_id: "ses_sub", parent_session_id: "ses_tui", title: "Find unused rules", directory: "/home/me/src/web", status: "busy", doing: "tool", tool: { name: "grep", title: "\\.hidden", more: 2 }, since: before(12) }] : []),
      ...(at === 3 ? [{ session_id: "ses_idle", directory: "/home/me/src/x", status: "idle" }] : []),
    ] })) },
    "GET /v1/memory": (url) => {
      const all = samples(IDS.indexOf(url.searchParams.get("repo_id")), url.searchParams.get("after"));
      return { repo_id: url.searchParams.get("repo_id"), measured: all.length, samples: all };
    },
    "GET /v1/audit": {
      findings: [
        finding("A301", "error", "a server listens beyond loopback", "pid 2201 listens on 0.0.0.0:4096 without a password", [{ pid: 2201, port: 4096, detail: "opencode serve --hostname 0.0.0.0" }], "end it, and let `repod up` start the backend of that repository"),
        finding("A101", "error", "processes share a database", "two processes have one database open", Array.from({ length: 9 }, (_, n) => ({ pid: 2200 + n, path: "/home/me/.local/share/opencode/opencode.db" })), "`repod up PATH` for each repository gives each a database of its own"),
        finding("A501", "warning", "the limit of open files is low", "pid 2201 may open 1024 files", [{ pid: 2201, variable: "nofile", detail: "soft 1024, hard 524288" }], "`repod harden --apply`"),
        finding("A501", "warning", "the limit of open files is low", "pid 2207 may open 1024 files", [{ pid: 2207, variable: "nofile", detail: "soft 1024, hard 524288" }], "`repod harden --apply`"),
        finding("A601", "note", "a process was left behind", "pid 3110 has lost its parent", [{ pid: 3110, detail: "opencode serve --port 0" }], "`repod gc`"),
      ],
      checked: Array.from({ length: 34 }, (_, n) => ({ id: `A${n}`, findings: n < 4 ? 1 : 0 })), skipped: ["the sockets of other users"],
    },
    "GET /v1/sessions/review/turns/*": (url) => ({ stream: turn, open: url.pathname.endsWith("b") }),
    "POST /v1/restart": [IDS[0]], "POST /v1/stop": { stopped: [{ repo_id: IDS[0], root: "/", was_running: true, processes: 4 }] },
    "POST /v1/hibernate": { hibernated: [{ repo_id: IDS[0], root: "/", was_running: true, processes: 0, error: { code: "backend_busy", message: "2 turns are in flight", hint: "`repod stop` ends them" } }] },
    "POST /v1/lease/release": { released: null },
  };
  return answers;
}
