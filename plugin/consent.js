// --- What the user's rules say of foreign files ------------------------------------------------

/** What OpenCode 1.18 says of a call that a rule denies. */
function denied(permission, rules) {
  const relevant = rules.filter((rule) => !isOurs(rule) && matches(permission, rule.permission))
  return new Refusal(
    `The user has specified a rule which prevents you from using this specific tool call. Here are some of the relevant rules ${JSON.stringify(relevant)}`,
  )
}

/** The strictest of what is said of these. */
function strictest(files, action) {
  const said = files.map(action)
  return ["deny", "ask"].find((one) => said.includes(one)) ?? "allow"
}

/**
 * The rules of a call: its agent's, then its session's, then what the user has answered "always".
 * A file is judged by the name it was given and by its own: both must be allowed.
 */
function consent({ client, directory, worktree }, alive, permissions) {
  let agents
  /** What the configuration said before rules of ours were added. */
  const users = { common: [], agents: {} }

  const isHome = (file) => isBelow(directory, file) || (worktree !== "/" && isBelow(worktree, file))
  const editPattern = (file) => path.relative(worktree, file)
  const directoryPattern = (file) => path.join(path.dirname(file), "*")

  async function rulesOfAgent(name) {
    agents ??= (await within(OWN_CALL, "app.agents", client.app.agents())).data
    const agent = agents?.find((agent) => agent.name === name)
    if (!agent) throw new Error(`agent ${name} is unknown`)
    return agent.permission
  }

  /** The rules for a call, when the arguments in its part are stored: they are changed after that. */
  async function rulesFor({ session, call, stop }) {
    const { messageID } = await alive.running(session, call, stop.signal)
    const message = client.session.message({ path: { id: session, messageID } })
    const [said, info] = await Promise.all([
      within(OWN_CALL, "session.message", message),
      within(OWN_CALL, "session.get", client.session.get({ path: { id: session } })),
    ])
    if (!said.data || !info.data) throw new Error("OpenCode doesn't tell whose call this is")
    const { agent } = said.data.info
    const own = info.data.permission ?? []
    const rules = [...(await rulesOfAgent(agent)), ...own]
    return {
      rules,
      all: () => [...rules, ...permissions.approved()],
      users: [...users.common, ...(users.agents[agent] ?? []), ...own],
    }
  }

  function configured({ permission, agent }) {
    users.common = rulesOf(asObject(permission))
    for (const [name, { permission } = {}] of Object.entries(agent ?? {})) {
      users.agents[name] = rulesOf(asObject(permission))
    }
  }

  function decide(permission, files, pattern, { rules, all }) {
    const users = all().filter((rule) => !isOurs(rule))
    const action = strictest(files, (file) => actionFor(users, permission, pattern(file)))
    if (action === "deny") throw denied(permission, rules)
    return action
  }

  /** On the directory these names of one file lie in. Throws what OpenCode would where it denies. */
  const onDirectory = (names, rules) =>
    decide("external_directory", names.filter((name) => !isHome(name)), directoryPattern, rules)

  /** On editing these files, likewise. */
  const onEdit = (names, rules) => decide("edit", names, editPattern, rules)

  /**
   * Whether OpenCode will ask for a copy what it would ask for the file. Rules that a session has of
   * its own come after ours: they may allow a copy where they would ask for the file.
   */
  function confirm(wanted, permission, pattern, { rules, all }) {
    const action = actionFor(all(), permission, pattern)
    const unasked = wanted === "ask" && actionFor(rules, permission, pattern) === "allow"
    if (action !== "deny" && !unasked) return
    throw new Refusal(
      `the permission rules of this session don't let repod ask for \`${permission}\` in another repository, so this call was not done. Ask the user to put them into the configuration.`,
    )
  }

  return { configured, rulesFor, onDirectory, onEdit, confirm, editPattern, directoryPattern }
}
