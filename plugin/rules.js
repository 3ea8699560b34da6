// --- Permission rules --------------------------------------------------------------------------
//
// OpenCode asks for the paths its tools are given. A routed call works on copies (see `route.js`),
// so the user's rules are applied to the real paths here, and what they say is carried by the name
// of the copies' directory: `edit-ask.dir-allow` asks before the edit and not for the directory.
// The rules added to the configuration tell OpenCode so; asking and answering stay its own.

/** Ours, under keys that mean `edit` and `external_directory` without being those of the user. */
const EDIT = "edi?"
const READING_DIRECTORY = "external_director?"
const DIRECTORY = "external_directo??"
const isOurs = (rule) => [EDIT, READING_DIRECTORY, DIRECTORY].includes(rule.permission)

/** OpenCode 1.18's `Wildcard.match`. */
function matches(text, pattern) {
  let source = pattern
    .replaceAll("\\", "/")
    .replace(/[.+^${}()|[\]\\]/g, "\\$&")
    .replace(/\*/g, ".*")
    .replace(/\?/g, ".")
  if (source.endsWith(" .*")) source = `${source.slice(0, -3)}( .*)?`
  return new RegExp(`^${source}$`, "s").test(text.replaceAll("\\", "/"))
}

const lastMatch = (rules, permission, pattern) =>
  rules.findLast((rule) => matches(permission, rule.permission) && matches(pattern, rule.pattern))

/** What OpenCode 1.18's `Permission.evaluate` says: the last rule that matches, or "ask". */
const actionFor = (rules, permission, pattern) => lastMatch(rules, permission, pattern)?.action ?? "ask"

/** OpenCode 1.18's `Permission.fromConfig`; where `~` means the home doesn't matter here. */
function rulesOf(permissions) {
  const flat = []
  for (const [permission, said] of Object.entries(permissions)) {
    const patterns = typeof said === "string" ? { "*": said } : (said ?? {})
    for (const [pattern, action] of Object.entries(patterns)) flat.push({ permission, pattern, action })
  }
  return flat
}

const asObject = (permissions) =>
  typeof permissions === "string" ? { "*": permissions } : { ...permissions }

/** Whether OpenCode 1.18 takes the editing tools away from the model. */
function hidesEdit(rules) {
  const last = rules.findLast((rule) => matches("edit", rule.permission))
  return last?.pattern === "*" && last.action === "deny"
}

const stageName = (edit, directory) => `edit-${edit}.dir-${directory}`

/** What OpenCode shall do with copies in directories of these names. */
function stageRules(stage, worktree) {
  const edit = {}
  const directory = {}
  for (const onEdit of ["allow", "ask"]) {
    for (const onDirectory of ["allow", "ask"]) {
      const copies = `${stage}/${stageName(onEdit, onDirectory)}`
      edit[`${path.relative(worktree, copies)}/*`] = onEdit
      directory[`${copies}/*`] = onDirectory
    }
  }
  return { edit, directory }
}

/** OpenCode 1.18's own agent that edits nothing unless the user's rules let it. */
const EXPLORE = "explore"

/**
 * Adds repod's rules to the configuration. The last rule that matches counts, so those for copies
 * come last, everywhere; those for reading other repositories come first, so that the user's own
 * rules win. An agent that has no editing tools gets none by a rule of ours.
 */
function addRules(config, { edit, directory }, roots) {
  const users = asObject(config.permission)
  const common = rulesOf(users)
  const reading = Object.fromEntries(roots.map((root) => [`${root === "/" ? "" : root}/*`, "allow"]))
  const ours = (hidden) => ({ [EDIT]: hidden ? "deny" : edit, [DIRECTORY]: directory })
  const agents = (config.agent ??= {})

  for (const [name, agent] of Object.entries(agents)) {
    if (!agent?.permission) continue
    const own = asObject(agent.permission)
    const native = name === EXPLORE ? [{ permission: "*", pattern: "*", action: "deny" }] : []
    agent.permission = { ...own, ...ours(hidesEdit([...native, ...common, ...rulesOf(own)])) }
  }
  if (!common.some((rule) => matches("edit", rule.permission))) {
    agents[EXPLORE] = { permission: { [EDIT]: "deny" }, ...agents[EXPLORE] }
  }
  config.permission = {
    [READING_DIRECTORY]: reading,
    ...users,
    ...(hidesEdit(common) ? {} : { [EDIT]: edit }),
    [DIRECTORY]: directory,
  }
}
