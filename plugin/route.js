// --- Calls under way that were led elsewhere ---------------------------------------------------
//
// A write, edit or apply_patch whose files lie in another repository runs on copies of them
// (`files.js`), a command that belongs there is run by its backend (`shell.js`). Everybody else, the
// user who is asked, the model and the transcript, reads the real paths: OpenCode 1.18 publishes the
// very objects that it keeps and sends, so they are renamed while an event is published.

/** Lets a call see other arguments; what is returned takes them out again. */
function exchanged(args, changed) {
  const real = Object.fromEntries(Object.keys(changed).map((name) => [name, args[name]]))
  Object.assign(args, changed)
  return () => {
    for (const [name, value] of Object.entries(real)) {
      if (value === undefined) delete args[name]
      else args[name] = value
    }
  }
}

/**
 * A route: `copies` of its files, `asking` what the user is asked for them, `restore` takes the copies
 * out of the arguments, `pending` until its tool has run, `part` as it was last told.
 */
function routeBook(client, permissions) {
  const routes = new Map()
  const key = (session, call) => `${session} ${call}`
  const get = (session, call) => routes.get(key(session, call))

  function open({ session, call }, route) {
    routes.set(key(session, call), route)
    if (routes.size > KEPT_ROUTES) routes.delete(routes.keys().next().value)
    return route
  }

  /** Must run while the event is published. */
  function hear({ type, properties }) {
    if (routes.size === 0) return
    if (type === "message.part.updated") heardPart(properties.part)
    else if (type === "permission.asked") heardQuestion(properties)
    else if (type === "file.edited" || type === "file.watcher.updated") heardFile(properties)
  }

  function heardPart(part) {
    const route = part.type === "tool" && get(part.sessionID, part.callID)
    if (!route) return
    route.part = part
    const renamed = route.copies && rename(part.state, route.copies.inRealWords)
    // It was stored before it was told, so it is stored once more.
    if (renamed && part.state.status === "error") void store(part)
  }

  function heardQuestion(request) {
    const route = get(request.sessionID, request.tool?.callID)
    if (!route?.copies) return
    const isOfCopies = rename(request, route.copies.inRealWords)
    route.restore()
    if (isOfCopies && !isAsked(route, request)) permissions.allow(request)
  }

  /** Whether the question would be asked for the files as well. */
  function isAsked({ asking }, { permission, patterns }) {
    return patterns.some((pattern) => asking[permission]?.includes(pattern))
  }

  function heardFile(properties) {
    const isIts = ({ copies }) => copies && properties.file?.startsWith(`${copies.prefix}/`)
    const route = [...routes.values()].find(isIts)
    if (!route) return
    // `edit` stores its arguments again after this.
    route.restore()
    rename(properties, route.copies.inRealWords)
  }

  /** An error is told to the model as it was stored; the store may not have been mended yet. */
  function correct(messages) {
    if (routes.size === 0) return
    for (const part of messages.flatMap((message) => message.parts)) {
      if (part.type !== "tool" || part.state.status !== "error") continue
      const route = get(part.sessionID, part.callID)
      if (route?.copies) rename(part.state, route.copies.inRealWords)
    }
  }

  /** OpenCode has given up the call, but what it was to do is done: the transcript must say so. */
  function mend({ part }, { title, output, metadata }) {
    if (part?.state.status !== "error") return
    const { input, time } = part.state
    void store({ ...part, state: { status: "completed", input, output, title, metadata, time } })
  }

  function store(part) {
    const url = "/session/{sessionID}/message/{messageID}/part/{partID}"
    const names = { sessionID: part.sessionID, messageID: part.messageID, partID: part.id }
    const headers = { "content-type": "application/json" }
    return client._client.patch({ url, path: names, body: part, headers }).catch(() => {})
  }

  return { open, get, forget: (session, call) => routes.delete(key(session, call)), hear, correct, mend }
}
