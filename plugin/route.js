// --- Foreign files -----------------------------------------------------------------------------
//
// A write, edit or apply_patch whose files lie in another repository runs on copies of them; what
// came of it is applied by the daemon through the backend that owns the target. Everybody else,
// the user who is asked, the model and the transcript, reads the real paths.

/** What OpenCode 1.18 says of a call that a rule denies. */
function denied(permission, rules) {
  const relevant = rules.filter((rule) => !isOurs(rule) && matches(permission, rule.permission))
  return new Refusal(
    `The user has specified a rule which prevents you from using this specific tool call. Here are some of the relevant rules ${JSON.stringify(relevant)}`,
  )
}

/** The rules of a call: its agent's, then its session's, then what the user has answered "always". */
function rulebook(client, permissions) {
  let agents

  async function rulesOfAgent(name) {
    agents ??= (await within(OWN_CALL, "app.agents", client.app.agents())).data
    const agent = agents?.find((agent) => agent.name === name)
    if (!agent) throw new Error(`agent ${name} is unknown`)
    return agent.permission
  }

  return async function rulesFor(session, message) {
    const [said, info] = await Promise.all([
      within(OWN_CALL, "session.message", client.session.message({ path: { id: session, messageID: message } })),
      within(OWN_CALL, "session.get", client.session.get({ path: { id: session } })),
    ])
    if (!said.data || !info.data) throw new Error("OpenCode doesn't tell whose call this is")
    const rules = [...(await rulesOfAgent(said.data.info.agent)), ...(info.data.permission ?? [])]
    return { rules, all: () => [...rules, ...permissions.approved()] }
  }
}

function router({ client, directory, worktree }, { stage }, daemon, alive, permissions) {
  const rulesFor = rulebook(client, permissions)
  const routes = new Map()
  const key = (session, call) => `${session} ${call}`

  const isHome = (file) => isBelow(directory, file) || (worktree !== "/" && isBelow(worktree, file))
  const editPattern = (file) => path.relative(worktree, file)
  const directoryPattern = (file) => path.join(path.dirname(file), "*")

  /** What the rules say of this file, by the name it was given and by its own. */
  function strictest(file, action) {
    const said = [file, canonical(file)].map(action)
    return ["deny", "ask"].find((one) => said.includes(one)) ?? "allow"
  }

  /** The user's rules on the real paths. Throws what OpenCode would where they deny. */
  function decide({ all, edits }, { rules, all: withApproved }) {
    const users = withApproved().filter((rule) => !isOurs(rule))
    const directories = new Map()
    for (const file of all) {
      const action = strictest(file, (name) =>
        isHome(name) ? "allow" : actionFor(users, "external_directory", directoryPattern(name)),
      )
      if (action === "deny") throw denied("external_directory", rules)
      directories.set(file, action)
    }
    const said = edits.map((file) => strictest(file, (name) => actionFor(users, "edit", editPattern(name))))
    if (said.includes("deny")) throw denied("edit", rules)
    return { directories, edit: said.includes("ask") ? "ask" : "allow" }
  }

  /**
   * Whether OpenCode will ask for the copies what it would ask for the files. Rules that a session
   * has of its own come after ours: they may allow a copy where they would ask for the file.
   */
  function confirm(copies, { all, edits }, decision, { all: withApproved }) {
    const rules = withApproved()
    const check = (wanted, permission, pattern) => {
      const action = actionFor(rules, permission, pattern)
      if (action === "deny" || (action === "allow" && wanted === "ask")) {
        throw new Refusal(
          `the permission rules of this session don't let repod ask for \`${permission}\` in another repository, so this call was not done. Ask the user to put them into the configuration.`,
        )
      }
    }
    for (const file of all) {
      check(decision.directories.get(file), "external_directory", directoryPattern(copies.of(file)))
    }
    for (const file of edits) check(decision.edit, "edit", editPattern(copies.of(file)))
  }

  /** Makes a granted call work on copies: what stands in `args` afterwards are their paths. */
  async function begin(entry, args) {
    const { session, call, tool } = entry
    if (!stage) throw new Refusal("repod has no place for copies, so this call was not done.")
    const paths = pathsOf(tool, args, directory)
    // Before that, the arguments stored in the transcript would be those changed below.
    const part = await alive.running(session, call, entry.stop.signal)
    const book = await rulesFor(session, part.messageID)
    const decision = decide(paths, book)
    const asks = [...decision.directories.values()].includes("ask") ? "ask" : "allow"
    const name = stageName(decision.edit, asks)
    const files = await daemon.stage({ session, call, name }, entry.stop.signal)
    if (entry.over) throw new Refusal(ABORTED)
    const copies = copiesOf(files, stage, worktree)
    confirm(copies, paths, decision, book)
    const route = { copies, decision, restore: swap(tool, args, directory, copies), open: true }
    routes.set(key(session, call), route)
    if (routes.size > KEPT_ROUTES) routes.delete(routes.keys().next().value)
    entry.route = route
  }

  /** After OpenCode's tool has changed the copies: the daemon applies that to the files. */
  async function commit(entry, result) {
    const { session, call, route } = entry
    route.restore()
    route.open = false
    const done = await applied(entry, { session, call })
    rename(result, route.copies.inRealWords)
    if (done.title) result.title = done.title
    if (done.output) result.output = done.output
    result.metadata = { ...result.metadata, repod: { targets: done.targets ?? [] } }
    // What a language server says of a copy outside its project helps nobody.
    if (result.metadata.diagnostics) result.metadata.diagnostics = {}
  }

  async function applied(entry, body) {
    const limit = setTimeout(() => entry.stop.abort(), LONGEST_ASK)
    try {
      return await daemon.commit(body, entry.stop.signal)
    } catch (error) {
      if (!entry.stop.signal.aborted) throw error
      throw new Refusal(
        "the call was ended while its change was being applied. Look at the files before you go on.",
      )
    } finally {
      clearTimeout(limit)
    }
  }

  /** What is said of copies is said of the real files. Must run while the event is published. */
  function hear({ type, properties }) {
    if (routes.size === 0) return
    switch (type) {
      case "message.part.updated":
        return heardPart(properties.part)
      case "permission.asked": {
        const route = routes.get(key(properties.sessionID, properties.tool?.callID))
        if (!route) return
        route.restore()
        rename(properties, route.copies.inRealWords)
        if (isAllowed(route, properties)) permissions.allow(properties)
        return
      }
      case "file.edited":
      case "file.watcher.updated": {
        const all = [...routes.values()]
        const route = all.find(({ copies }) => properties.file?.startsWith(`${copies.prefix}/`))
        if (!route) return
        // `edit` stores its arguments again after this.
        route.restore()
        return void rename(properties, route.copies.inRealWords)
      }
    }
  }

  function heardPart(part) {
    const route = part.type === "tool" && routes.get(key(part.sessionID, part.callID))
    if (!route || !rename(part.state, route.copies.inRealWords)) return
    if (part.state.status !== "error") return
    // Stored before it was told, so it is stored once more.
    const url = "/session/{sessionID}/message/{messageID}/part/{partID}"
    const names = { sessionID: part.sessionID, messageID: part.messageID, partID: part.id }
    const headers = { "content-type": "application/json" }
    void client._client.patch({ url, path: names, body: part, headers }).catch(() => {})
  }

  /** A question for copies where none would be asked for the files. */
  function isAllowed({ decision }, { permission, patterns }) {
    if (permission === "edit") return decision.edit === "allow"
    if (permission !== "external_directory") return false
    const asked = [...decision.directories].filter(([, action]) => action === "ask")
    const names = asked.flatMap(([file]) => [file, canonical(file)].map(directoryPattern))
    return !patterns.some((pattern) => names.includes(pattern))
  }

  /** An error is told to the model as it was stored; the store may not have been mended yet. */
  function correct(messages) {
    if (routes.size === 0) return
    for (const part of messages.flatMap((message) => message.parts)) {
      if (part.type !== "tool" || part.state.status !== "error") continue
      const route = routes.get(key(part.sessionID, part.callID))
      if (route) rename(part.state, route.copies.inRealWords)
    }
  }

  return {
    begin,
    commit,
    hear,
    correct,
    /** Whether copies were made for a call that nobody has applied. */
    isOpen: (session, call) => routes.get(key(session, call))?.open === true,
    /** Whether the model itself names copies: the rules for them are not meant for it. */
    isOwn(tool, args) {
      if (!stage || !("filePath" in args || "patchText" in args)) return false
      return pathsOf(tool, args, directory).all.some((file) => isBelow(stage, file))
    },
    forget: (session, call) => routes.delete(key(session, call)),
  }
}
