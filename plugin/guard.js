// --- The hooks ---------------------------------------------------------------------------------

function writeGuard({ client, directory, worktree }, settings) {
  const daemon = daemonAt(settings, directory)
  const sessions = sessionTree(client)
  const alive = liveness(client)
  const permissions = permissionDesk(client)
  const rights = consent({ client, directory, worktree }, alive, permissions)
  const routes = routeBook(client, permissions)
  const files = foreignFiles({ directory, worktree }, settings, daemon, rights, routes)
  const shell = foreignShell({ directory, worktree }, settings, rights, routes)
  const book = callBook()
  const isFree = registeredReading(daemon, rights, alive, book)
  const life = new AbortController()

  /** Ends a call: one that waits is given up, and the daemon learns of it in any case. */
  function end(entry) {
    if (!book.close(entry)) return undefined
    entry.stop.abort()
    // The end takes the copies away: not while they are being read.
    return Promise.resolve(entry.busy).then(() => daemon.report(entry.session, entry.call))
  }

  async function admit(tool, session, call, args) {
    if (life.signal.aborted) throw new Refusal("this directory is being closed, so this call was not done.")
    const needed = neededArguments(tool, args)
    if (files.namesCopies(tool, needed)) throw new Refusal(COPIES)
    const entry = book.open(session, call, tool, summary(tool, needed))
    routes.forget(session, call)
    const limit = setTimeout(() => entry.stop.abort(), LONGEST_ASK)
    try {
      const owner = await sessions.rootOf(session)
      if (!(await alive.isWanted(session, call))) throw new Refusal(ABORTED)
      const after = await book.inOrder(entry)
      const body = { session, ...owner, call, after, tool, args: needed }
      const leave = await daemon.ask(body, entry.stop.signal)
      if (entry.over) throw new Refusal(ABORTED)
      book.grant(entry, leave, owner)
      if (leave.foreign ?? leave.shell) await lead(entry, args, leave)
    } catch (error) {
      if (entry.over) throw new Refusal(ABORTED)
      const late = entry.stop.signal.aborted
      // A refused call is known to the daemon as such; any other might have been granted meanwhile.
      if (error instanceof Refusal && !entry.granted) book.close(entry)
      else void end(entry)
      throw late ? new Refusal("repod gave no leave in an hour, so this call was not done.") : error
    } finally {
      clearTimeout(limit)
    }
  }

  /** A call that belongs to another repository is made to run for it. */
  async function lead(entry, args, leave) {
    if (!settings.stage) throw new Refusal("repod has no place for copies, so this call was not done.")
    await (leave.foreign ? files.begin(entry, args, leave.foreign) : shell.begin(entry, args, leave.shell))
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
    // One that runs is ended by OpenCode, which then says so. One on copies has done nothing yet.
    for (const entry of book.of(session)) {
      if (!entry.granted || (entry.onCopies && !entry.busy)) void end(entry)
    }
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
    } else if (settings.stage && (await isFree(request))) {
      permissions.allow(request)
    }
  }

  function deleted(session) {
    aborted(session)
    for (const entry of book.of(session)) void end(entry)
    book.dropLeases(session)
    sessions.forget(session)
  }

  function heard({ type, properties }) {
    routes.hear({ type, properties })
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
        return permissions.answered(properties)
    }
  }

  void daemon.hello(worktree, book.held, life.signal)

  return {
    config: async (config) => {
      shell.configured(config)
      rights.configured(config)
      if (!settings.stage) return
      const roots = await daemon.roots().catch(() => [])
      addRules(config, stageRules(settings.stage, worktree), roots)
    },
    "tool.execute.before": async ({ tool, sessionID, callID }, output) => {
      if (READING.has(tool) || book.isInsideGranted(sessionID, callID)) return
      try {
        await admit(tool, sessionID, callID, output.args)
      } catch (error) {
        throw refusalOf(error)
      }
    },
    "shell.env": async ({ sessionID: session, callID: call }, { env }) => {
      if (call) shell.lead(book.find(session, call), { session, call }, env)
    },
    "tool.execute.after": async ({ sessionID, callID }, output) => {
      const entry = book.find(sessionID, callID)
      if (!entry && routes.get(sessionID, callID)?.pending) throw new Refusal(ABORTED)
      if (!entry) return
      try {
        if (entry.route?.operation) await files.commit(entry, output)
      } catch (error) {
        throw refusalOf(error)
      } finally {
        await Promise.race([end(entry), pause(REPORT_WAIT, life.signal)])
      }
    },
    "experimental.chat.messages.transform": async (_, { messages }) => {
      try {
        routes.correct(messages)
      } catch {
        // The words of a copy are better than none.
      }
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
    const { socket, token, stage, program } = options.guard ?? {}
    if (typeof socket !== "string" || !socket.startsWith("/")) return closedGuard("no socket")
    if (typeof token !== "string" || token === "") return closedGuard("no token")
    return writeGuard(input, { socket, token, stage, program })
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
