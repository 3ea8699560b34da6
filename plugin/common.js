// ---------------------------------------------------------------------------------------------
// The guard: repod's daemon is asked before every call that can write, and told of its end.
//
// Fail-closed: whatever goes wrong, the call is refused, with a text the model can act on. A call
// that was aborted while it waited must not run; OpenCode 1.18 would run it, and says so to plugins
// only through events, so they are watched (see `liveness`).

/** OpenCode 1.18's own tools that write nothing. A tool that isn't named here asks. */
const READING = new Set([
  ...["read", "glob", "grep", "lsp", "webfetch", "websearch"],
  ...["list_mcp_resources", "list_mcp_resource_templates", "read_mcp_resource"],
  ...["todowrite", "task", "skill", "question", "invalid", "plan_exit"],
])
/** What the daemon needs to know of a call; of other tools, nothing. */
const ARGUMENTS = {
  bash: ["command", "workdir"],
  write: ["filePath"],
  edit: ["filePath"],
  apply_patch: ["patchText"],
}

const SECOND = 1000
/** How long the daemon may be away before a call is refused. */
const AWAY = 10 * SECOND
/** How often a daemon that owes an answer is asked whether it is there, and how long it may think. */
const PROBE_EVERY = 2 * SECOND
/** A connection that lived this long was a good one: the patience for its loss begins anew. */
const SETTLED = SECOND
/** Longest wait for a grant. The daemon's own limit is an hour. */
const LONGEST_ASK = 65 * 60 * SECOND
/** How long the end of a call may delay the turn, and how long its report is tried. */
const REPORT_WAIT = SECOND
const REPORT_TRIES = 10 * SECOND
/** Calls to OpenCode itself. */
const OWN_CALL = 10 * SECOND
const FIRST_PAUSE = 50
const LONGEST_PAUSE = SECOND
const UNWANTED_PAUSE = 5 * SECOND
const KEPT_SESSIONS = 1000
const KEPT_ROUTES = 256
const ANSWER_MAX = 1 << 20
const HEAD_MAX = 16 << 10

/** Why a call doesn't run: the message is what the model reads. */
class Refusal extends Error {}

const ABORTED = "the call was aborted; nothing was written"
const COPIES = "these are repod's own copies of other repositories' files, so this call was not done. Name the file itself."
const HINT =
  "Reading still works. Try again in a minute; if it stays so, ask the user to run `repod ps`, which starts repod's daemon."

function refusalOf(error) {
  if (error instanceof Refusal) return error
  return new Refusal(`repod's guard failed, so this call was not done: ${error?.message ?? error}`)
}

/** Resolves after `ms`, or at once when `signal` fires. */
function pause(ms, signal) {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer)
      signal?.removeEventListener("abort", done)
      resolve()
    }
    const timer = setTimeout(done, ms)
    signal?.addEventListener("abort", done)
    if (signal?.aborted) done()
  })
}

/** `promise`, or a rejection after `ms`. */
async function within(ms, what, promise) {
  const done = new AbortController()
  const late = pause(ms, done.signal).then(() => {
    if (!done.signal.aborted) throw new Error(`no answer to ${what}`)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    done.abort()
  }
}

