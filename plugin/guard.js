// repod's guard: the one plugin repod adds to every backend it starts.
//
// OpenCode loads it once per directory instance, last of all plugins, so it sees final arguments.
// It is embedded in the repod binary and written beside the backend's state before each start.
// Plain JavaScript without imports: an import that fails would turn the guard off without a word.
//
// Each concern is one function that returns hooks; `compose` joins them. A hook of a concern that
// only serves comfort must never throw: whatever goes wrong in it, the agent's command still runs.

/** Never for tools, even when the options got lost on the way. */
const SECRETS = ["OPENCODE_SERVER_PASSWORD", "OPENCODE_SERVER_USERNAME", "OPENCODE_CONFIG_CONTENT"]

/**
 * Tools and terminals see the user's own environment, not the backend's.
 *
 * Deleting a key does not unset it in OpenCode 1.18, so "unset" is the empty string, which is what
 * the XDG specification and npm take it for.
 */
function userEnvironment(options) {
  const values = options && typeof options.env === "object" && options.env !== null ? options.env : {}
  return {
    "shell.env": async (_input, output) => {
      try {
        for (const name of SECRETS) output.env[name] = ""
        for (const [name, value] of Object.entries(values)) {
          if (typeof value === "string") output.env[name] = value
        }
      } catch {
        // Comfort only: see above.
      }
    },
  }
}

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
const ANSWER_MAX = 1 << 20
const HEAD_MAX = 16 << 10

/** Why a call doesn't run: the message is what the model reads. */
class Refusal extends Error {}

const ABORTED = "the call was aborted; nothing was written"
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

// --- The daemon --------------------------------------------------------------------------------

/**
 * One HTTP exchange on a connection of its own; resolves when the daemon has closed it.
 *
 * Not `fetch`: on a Unix socket Bun 1.3's costs 170 µs, this 80; it also looks at proxy settings,
 * ends after 5 quiet minutes, and counts against 256 connections shared with the model's streams.
 * HTTP/1.0, so that the end of the answer is the end of the connection and nothing is chunked.
 * Of the answer, the first `keep` bytes are kept.
 */
function exchange(socket, path, body, { signal, keep = ANSWER_MAX } = {}) {
  let close
  const answer = new Promise((resolve, reject) => {
    const payload = Buffer.from(JSON.stringify(body))
    const head = `POST ${path} HTTP/1.0\r\nhost: repod\r\ncontent-type: application/json\r\ncontent-length: ${payload.length}\r\n\r\n`
    let unsent = Buffer.concat([Buffer.from(head), payload])
    let connection
    const received = []
    let size = 0
    const send = (to) => {
      if (unsent.length > 0) unsent = unsent.subarray(Math.max(0, to.write(unsent)))
    }
    close = () => {
      reject(new Error("given up"))
      connection?.terminate()
    }
    const finish = () => {
      const whole = parse(Buffer.concat(received))
      if (whole) resolve(whole)
      else reject(new Error("the connection was closed without an answer"))
    }
    if (signal?.aborted) return close()
    signal?.addEventListener("abort", close)
    Bun.connect({
      unix: socket,
      socket: {
        open(opened) {
          connection = opened
          if (signal?.aborted) opened.terminate()
          else send(opened)
        },
        drain: send,
        data(_, chunk) {
          if (size >= keep) return
          size += chunk.length
          received.push(Buffer.from(chunk))
        },
        close: finish,
        error: (_, error) => reject(error),
        connectError: (_, error) => reject(error),
      },
    }).catch(reject)
  })
  return answer.finally(() => signal?.removeEventListener("abort", close))
}

/** Status and body of an answer; `undefined` when it isn't whole. */
function parse(bytes) {
  const end = bytes.indexOf("\r\n\r\n")
  const head = /^HTTP\/1\.[01] (\d{3})/.exec(bytes.subarray(0, 16).toString("latin1"))
  if (end < 0 || !head) return undefined
  return { status: Number(head[1]), body: bytes.subarray(end + 4).toString() }
}

/** What an answer to an ask says. Throws a `Refusal` for "no", an `Error` for "ask again". */
function verdict({ status, body }) {
  let answer
  try {
    answer = JSON.parse(body)
  } catch {
    throw new Error("the answer was cut off")
  }
  if (status === 401 || status === 403) {
    throw new Refusal(
      "repod's daemon doesn't know this backend, so this call was not done. Ask the user to run `repod restart` in this repo.",
    )
  }
  const said = [answer?.error?.message, answer?.error?.hint].filter(Boolean).join("; ")
  if (status >= 500) throw new Error(said || `repod answered ${status}`)
  if (status === 200 && answer?.run === true) return answer.lease ?? null
  if (status === 200 && answer?.run === false && answer.message) throw new Refusal(answer.message)
  throw new Refusal(`repod refused this call, so it was not done: ${said || `it answered ${status}`}`)
}

function daemonAt({ socket, token }, directory) {
  const post = (verb, body, how) =>
    exchange(socket, `/v1/guard/${verb}`, { token, ...body }, how)

  /** The lease of a granted call (`null`: none needed). Asking twice is harmless. */
  async function ask(body, signal) {
    let giveUp = Date.now() + AWAY
    let wait = FIRST_PAUSE
    for (;;) {
      const began = Date.now()
      try {
        return verdict(await post("ask", { directory, ...body }, { signal }))
      } catch (error) {
        if (signal.aborted || error instanceof Refusal) throw error
        if (Date.now() - began >= SETTLED) [giveUp, wait] = [Date.now() + AWAY, FIRST_PAUSE]
        if (Date.now() + wait > giveUp) {
          const why = error?.message || error?.code || error
          throw new Refusal(`repod can't be reached, so this write was not done: ${why}. ${HINT}`)
        }
      }
      await pause(wait, signal)
      wait = Math.min(wait * 2, LONGEST_PAUSE)
    }
  }

  /** Tells that a call has ended; tries for a while when the daemon is away. Never rejects. */
  async function report(session, call) {
    const limit = AbortSignal.timeout(REPORT_TRIES)
    for (let wait = FIRST_PAUSE; !limit.aborted; wait = Math.min(wait * 2, LONGEST_PAUSE)) {
      try {
        const { status } = await post("report", { session, call }, { signal: limit })
        if (status < 500) return
      } catch {
        // Away: the next hello tells what is held, and this call isn't.
      }
      await pause(wait, limit)
    }
  }

  /** Keeps a hello open until `signal` fires: the sign that this directory is guarded. */
  async function hello(worktree, held, signal) {
    for (let wait = FIRST_PAUSE; !signal.aborted; wait = Math.min(wait * 2, LONGEST_PAUSE)) {
      const began = Date.now()
      let unwanted = false
      try {
        const body = { directory, worktree, held: held() }
        const { status } = await post("hello", body, { signal, keep: HEAD_MAX })
        unwanted = status === 401 || status === 403
      } catch {
        // Away.
      }
      if (Date.now() - began >= SETTLED) wait = FIRST_PAUSE
      await pause(unwanted ? UNWANTED_PAUSE : wait, signal)
    }
  }

  return { ask, report, hello }
}

// --- OpenCode ----------------------------------------------------------------------------------

/** Sessions and their parents: a subagent writes for the session at the root of its tree. */
function sessionTree(client) {
  const known = new Map()

  function learn(info) {
    known.delete(info.id)
    known.set(info.id, { parent: info.parentID, title: info.title ?? "" })
    if (known.size > KEPT_SESSIONS) known.delete(known.keys().next().value)
  }

  /** An update may tell only what has changed. */
  function rename(info) {
    const session = known.get(info?.id)
    if (session && typeof info.title === "string") session.title = info.title
  }

  async function get(id) {
    if (!known.has(id)) {
      const { data } = await within(OWN_CALL, "session.get", client.session.get({ path: { id } }))
      if (data?.id !== id) throw new Error(`session ${id} is unknown`)
      learn(data)
    }
    return known.get(id)
  }

  async function rootOf(id) {
    try {
      for (let at = id, depth = 0; depth < 64; depth++) {
        const { parent, title } = await get(at)
        if (!parent) return { root: at, title }
        at = parent
      }
      throw new Error("its parents have no end")
    } catch (error) {
      throw new Refusal(
        `repod can't tell whose session this is (${error?.message ?? error}), so this call was not done. Try again.`,
      )
    }
  }

  return { rename, forget: (id) => known.delete(id), rootOf }
}

/**
 * Which tool calls OpenCode still wants.
 *
 * An abort first sends `session.error` and makes the session idle; the call's part becomes `error`
 * only up to 250 ms later (it waits for the tool), and a late `session.idle` may belong to the turn
 * before. So: a part seen as pending or running is wanted until its end or its session's abort;
 * about any other, OpenCode is asked.
 */
function liveness(client) {
  const parts = new Map()
  const key = (session, call) => `${session} ${call}`

  const isIdle = async (session) => {
    const { data } = await within(OWN_CALL, "session.status", client.session.status())
    if (!data) throw new Error("OpenCode doesn't tell which sessions are busy")
    return (data[session]?.type ?? "idle") === "idle"
  }

  async function stateOf(session, call) {
    const query = { path: { id: session }, query: { limit: 4 } }
    const { data } = await within(OWN_CALL, "session.messages", client.session.messages(query))
    const all = (data ?? []).flatMap((message) => message.parts)
    return all.findLast((part) => part.type === "tool" && part.callID === call)?.state.status
  }

  async function check(session, call) {
    for (let tries = 0; tries < 20; tries++) {
      if (await isIdle(session)) return false
      const state = await stateOf(session, call)
      if (state) return state === "pending" || state === "running"
      await pause(FIRST_PAUSE)
    }
    return false
  }

  return {
    isIdle,
    begins: (part) => parts.set(key(part.sessionID, part.callID), part),
    /** False when the part belongs to an older call: some providers use an id again. */
    ends(part) {
      const name = key(part.sessionID, part.callID)
      const known = parts.get(name)
      if (known && known.messageID !== part.messageID) return false
      parts.delete(name)
      return true
    },
    endsAll(session) {
      for (const [name, part] of parts) if (part.sessionID === session) parts.delete(name)
    },
    isWanted: (session, call) => parts.has(key(session, call)) || check(session, call),
  }
}

/** Permission requests that wait: after an abort, answering one would still run its tool. */
function permissionDesk(client) {
  const pending = new Map()

  function reject(request) {
    pending.delete(request.id)
    const path = { id: request.sessionID, permissionID: request.id }
    // One that was answered meanwhile is an error nobody needs.
    client.postSessionIdPermissionsPermissionId({ path, body: { response: "reject" } }).catch(() => {})
  }

  return {
    asked: (request) => pending.set(request.id, request),
    answered: (id) => pending.delete(id),
    reject,
    rejectWhere(matches) {
      for (const request of [...pending.values()]) if (matches(request)) reject(request)
    },
  }
}

// --- The books ---------------------------------------------------------------------------------

/** What is shown of a call to those who wait for it. */
function summary(tool, args) {
  const text = tool === "bash" ? args.command : args.filePath
  return text ? `${tool}: ${text.slice(0, 200)}` : tool
}

function neededArguments(tool, args) {
  const named = Object.hasOwn(ARGUMENTS, tool) ? ARGUMENTS[tool] : []
  const needed = named.filter((name) => typeof args?.[name] === "string")
  return Object.fromEntries(needed.map((name) => [name, args[name]]))
}

/** The calls that wait or run, and the leases their turns hold. */
function callBook() {
  const calls = new Map()
  const leases = new Map()
  const key = (session, call) => `${session} ${call}`
  const find = (session, call) => calls.get(key(session, call))

  function open(session, call, tool, what) {
    if (find(session, call)) {
      throw new Refusal("another call with the same id is still running, so this one was not done. Call it again.")
    }
    const entry = { session, call, tool, what, granted: false, over: false, stop: new AbortController() }
    calls.set(key(session, call), entry)
    return entry
  }

  function grant(entry, lease, { root, title }) {
    entry.granted = true
    if (!lease) return
    const { repo_id, branch, fence } = lease
    const name = JSON.stringify([root, repo_id, branch])
    const first = leases.get(name)?.session ?? entry.session
    leases.set(name, { repo_id, branch, fence, root, session: first, title })
    entry.lease = name
  }

  /** Takes a call out; false when somebody else has. */
  function close(entry) {
    if (entry.over) return false
    entry.over = true
    calls.delete(key(entry.session, entry.call))
    return true
  }

  /** A call made by a granted one (code mode names them `<call>/<n>`) runs under its grant. */
  function isInsideGranted(session, call) {
    const end = call.lastIndexOf("/")
    return end > 0 && find(session, call.slice(0, end))?.granted === true
  }

  /** What a daemon that lost its books must know. A lease outlives its calls: it ends with the turn. */
  function held() {
    return [...leases].map(([name, lease]) => {
      const mine = [...calls.values()].filter((entry) => entry.lease === name)
      return { ...lease, calls: mine.map(({ call, session, tool, what }) => ({ call, session, tool, what })) }
    })
  }

  function dropLeases(root) {
    for (const [name, lease] of leases) if (lease.root === root) leases.delete(name)
  }

  const of = (session) => [...calls.values()].filter((entry) => entry.session === session)
  const hasLease = (root) => [...leases.values()].some((lease) => lease.root === root)
  return { open, grant, close, find, of, all: () => [...calls.values()], isInsideGranted, held, hasLease, dropLeases }
}

// --- The hooks ---------------------------------------------------------------------------------

function writeGuard({ client, directory, worktree }, settings) {
  const daemon = daemonAt(settings, directory)
  const sessions = sessionTree(client)
  const alive = liveness(client)
  const permissions = permissionDesk(client)
  const book = callBook()
  const life = new AbortController()

  /** Ends a call: one that waits is given up, and the daemon learns of it in any case. */
  function end(entry) {
    if (!book.close(entry)) return undefined
    entry.stop.abort()
    return daemon.report(entry.session, entry.call)
  }

  async function admit(tool, session, call, args) {
    if (life.signal.aborted) throw new Refusal("this directory is being closed, so this call was not done.")
    const needed = neededArguments(tool, args)
    const entry = book.open(session, call, tool, summary(tool, needed))
    const limit = setTimeout(() => entry.stop.abort(), LONGEST_ASK)
    try {
      const owner = await sessions.rootOf(session)
      if (!(await alive.isWanted(session, call))) throw new Refusal(ABORTED)
      const body = { session, ...owner, call, tool, args: needed }
      const lease = await daemon.ask(body, entry.stop.signal)
      if (entry.over) throw new Refusal(ABORTED)
      book.grant(entry, lease, owner)
    } catch (error) {
      if (entry.over) throw new Refusal(ABORTED)
      const late = entry.stop.signal.aborted
      // A refused call is known to the daemon as such; any other might have been granted meanwhile.
      if (error instanceof Refusal) book.close(entry)
      else void end(entry)
      throw late ? new Refusal("repod gave no leave in an hour, so this call was not done.") : error
    } finally {
      clearTimeout(limit)
    }
  }

  function partChanged(part) {
    if (part.type !== "tool") return
    const { status } = part.state
    if (status !== "completed" && status !== "error") return void alive.begins(part)
    if (!alive.ends(part)) return
    const entry = book.find(part.sessionID, part.callID)
    if (entry) void end(entry)
    if (status === "error") {
      permissions.rejectWhere(
        ({ tool }) => tool?.messageID === part.messageID && tool.callID === part.callID,
      )
    }
  }

  function aborted(session) {
    alive.endsAll(session)
    permissions.rejectWhere((request) => request.sessionID === session)
    // One that runs is ended by OpenCode, which then says so.
    for (const entry of book.of(session)) if (!entry.granted) void end(entry)
  }

  /** A turn seems to be over: ends what is left of it, if it really is. */
  async function settle(session) {
    const left = book.of(session)
    if (left.length === 0 && !book.hasLease(session)) return
    if (!(await alive.isIdle(session))) return
    for (const entry of left) void end(entry)
    book.dropLeases(session)
  }

  /** A permission asked for a call that is gone would be answered by nobody, or too late. */
  async function permissionAsked(request) {
    permissions.asked(request)
    const call = request.tool?.callID
    if (call && !(await alive.isWanted(request.sessionID, call))) {
      permissions.reject(request)
    }
  }

  function deleted(session) {
    aborted(session)
    for (const entry of book.of(session)) void end(entry)
    book.dropLeases(session)
    sessions.forget(session)
  }

  function heard({ type, properties }) {
    switch (type) {
      case "message.part.updated":
        return partChanged(properties.part)
      case "session.updated":
        return sessions.rename(properties.info)
      case "session.deleted":
        return deleted(properties.info?.id ?? properties.sessionID)
      case "session.error":
        if (properties.error?.name === "MessageAbortedError") return aborted(properties.sessionID)
        return settle(properties.sessionID)
      case "session.idle":
        return settle(properties.sessionID)
      case "permission.asked":
        return permissionAsked(properties)
      case "permission.replied":
        return permissions.answered(properties.requestID)
    }
  }

  void daemon.hello(worktree, book.held, life.signal)

  return {
    "tool.execute.before": async ({ tool, sessionID, callID }, output) => {
      if (READING.has(tool) || book.isInsideGranted(sessionID, callID)) return
      try {
        await admit(tool, sessionID, callID, output.args)
      } catch (error) {
        throw refusalOf(error)
      }
    },
    "tool.execute.after": async ({ sessionID, callID }) => {
      const entry = book.find(sessionID, callID)
      if (entry) await Promise.race([end(entry), pause(REPORT_WAIT, life.signal)])
    },
    event: async ({ event }) => {
      try {
        await heard(event)
      } catch {
        // A later event of the same turn says it again.
      }
    },
    dispose: async () => {
      life.abort()
      const ends = book.all().map(end)
      await Promise.race([Promise.all(ends), pause(REPORT_WAIT)])
    },
  }
}

/** The guard as it must be when it can't work: nothing that could write passes. */
function closedGuard(why) {
  return {
    "tool.execute.before": async ({ tool }) => {
      if (READING.has(tool)) return
      throw new Refusal(
        `repod's guard is not set up (${why}), so this call was not done. Reading still works. Ask the user to run \`repod restart\` in this repo.`,
      )
    },
  }
}

/** Without a `guard` option there is nothing to guard; with one that is broken, all is refused. */
function guard(input, options) {
  if (!options || !Object.hasOwn(options, "guard")) return {}
  try {
    const { socket, token } = options.guard ?? {}
    if (typeof socket !== "string" || !socket.startsWith("/")) return closedGuard("no socket")
    if (typeof token !== "string" || token === "") return closedGuard("no token")
    return writeGuard(input, { socket, token })
  } catch (error) {
    return closedGuard(error?.message ?? error)
  }
}

// ---------------------------------------------------------------------------------------------

/** Joins concerns: hooks of one name run in the order given. */
function compose(...concerns) {
  const joined = {}
  for (const hooks of concerns) {
    for (const [name, hook] of Object.entries(hooks)) {
      const before = joined[name]
      joined[name] = before
        ? async (input, output) => {
            await before(input, output)
            await hook(input, output)
          }
        : hook
    }
  }
  return joined
}

export const RepodGuard = async (input, options) =>
  compose(userEnvironment(options), guard(input, options))
