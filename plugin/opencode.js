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
  const starts = new Map()
  const key = (session, call) => `${session} ${call}`

  const isIdle = async (session) => {
    const { data } = await within(OWN_CALL, "session.status", client.session.status())
    if (!data) throw new Error("OpenCode doesn't tell which sessions are busy")
    return (data[session]?.type ?? "idle") === "idle"
  }

  async function partOf(session, call) {
    const query = { path: { id: session }, query: { limit: 4 } }
    const { data } = await within(OWN_CALL, "session.messages", client.session.messages(query))
    const all = (data ?? []).flatMap((message) => message.parts)
    return all.findLast((part) => part.type === "tool" && part.callID === call)
  }

  async function check(session, call) {
    for (let tries = 0; tries < 20; tries++) {
      if (await isIdle(session)) return false
      const state = (await partOf(session, call))?.state.status
      if (state) return state === "pending" || state === "running"
      await pause(FIRST_PAUSE)
    }
    return false
  }

  /** The call's part, when OpenCode has stored its arguments: it runs the hooks before that. */
  async function running(session, call, signal) {
    const name = key(session, call)
    for (let tries = 0; tries < 100 && !signal.aborted; tries++) {
      const part = parts.get(name) ?? (await partOf(session, call))
      if (part?.state.status === "running") return part
      await new Promise((resolve) => {
        starts.set(name, resolve)
        void pause(2 * FIRST_PAUSE, signal).then(resolve)
      })
      starts.delete(name)
    }
    throw new Error("OpenCode doesn't tell which call this is")
  }

  function begins(part) {
    const name = key(part.sessionID, part.callID)
    parts.set(name, part)
    if (part.state.status === "running") starts.get(name)?.()
  }

  return {
    isIdle,
    begins,
    running,
    toolOf: (session, call) => parts.get(key(session, call))?.tool,
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

/**
 * Permission requests that wait: after an abort, answering one would still run its tool. And what
 * was answered with "always", which OpenCode keeps to itself.
 */
function permissionDesk(client) {
  const pending = new Map()
  const approved = []

  function reply(request, response) {
    const path = { id: request.sessionID, permissionID: request.id }
    // One that was answered meanwhile is an error nobody needs.
    client.postSessionIdPermissionsPermissionId({ path, body: { response } }).catch(() => {})
  }

  function reject(request) {
    pending.delete(request.id)
    reply(request, "reject")
  }

  function answered({ requestID, reply }) {
    const request = pending.get(requestID)
    pending.delete(requestID)
    if (reply !== "always" || !request) return
    // "always" is also said of those that it answers along with the one it was meant for.
    const { permission, patterns, always } = request
    if (patterns.every((pattern) => actionFor(approved, permission, pattern) === "allow")) return
    for (const pattern of always) approved.push({ permission, pattern, action: "allow" })
  }

  return {
    asked: (request) => pending.set(request.id, request),
    answered,
    approved: () => approved,
    allow: (request) => reply(request, "once"),
    reject,
    rejectWhere(matches) {
      for (const request of [...pending.values()]) if (matches(request)) reject(request)
    },
  }
}
