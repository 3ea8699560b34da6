// --- Foreign commands --------------------------------------------------------------------------
//
// OpenCode starts its shell as for any command, after its own questions; the shell's first file then
// becomes `repod __routed`, which has the command run where it belongs. So output, abort and timeout
// are OpenCode's own, and nothing of the command runs here.

const ROUTED_SCRIPT = `# repod: this command belongs to another repository, whose own backend runs it.
exec "$REPOD_BIN" __routed
exit 126
`
/** Where a system's own file may lead zsh past ours. */
const ZSH_FILES = ["/etc/zshenv", "/etc/zsh/zshenv"]

/** The shell OpenCode 1.18 runs commands with (`Shell.acceptable`). */
function shellOf(config) {
  const wanted = config.shell || process.env.SHELL
  if (wanted && !["fish", "nu"].includes(path.basename(wanted).toLowerCase())) {
    const found = path.isAbsolute(wanted) ? isFile(wanted) && wanted : Bun.which(wanted)
    if (found) return found
  }
  return Bun.which("bash") ?? "/bin/sh"
}

function isFile(file) {
  return fs.statSync(file, { throwIfNoEntry: false })?.isFile() === true
}

function mentions(file, words) {
  try {
    return words.test(fs.readFileSync(file, "utf8"))
  } catch {
    return false
  }
}

/** The variable that makes the shell read our file first, or why it can't be made to. */
function firstFile(shell) {
  switch (path.basename(shell).toLowerCase()) {
    case "bash":
      if (process.env.POSIXLY_CORRECT === undefined) return { variable: "BASH_ENV", file: "bash_env" }
      throw cantRoute("`POSIXLY_CORRECT` is set")
    case "zsh":
      if (ZSH_FILES.some((file) => mentions(file, /ZDOTDIR|rcs/i))) {
        throw cantRoute("the system's zshenv has a say in where zsh reads its files")
      }
      return { variable: "ZDOTDIR", file: "zdotdir/.zshenv" }
    default:
      throw cantRoute(`OpenCode's shell here is \`${shell}\`, and only bash and zsh can be led there`)
  }
}

const cantRoute = (why) =>
  new Refusal(
    `this command belongs to another repository, and repod can't have it run there: ${why}. It was not run. Use \`write\`, \`edit\` or \`apply_patch\` for files there, or ask the user.`,
  )

/** Written beside the guard: shells read no file that isn't there, so it must be. */
function written(name) {
  const file = path.join(import.meta.dirname, "routed", name)
  fs.mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 })
  fs.writeFileSync(file, ROUTED_SCRIPT, { mode: 0o600 })
  return file
}

function foreignShell({ directory, worktree }, settings, rights, routes) {
  const { stage, program, socket, token } = settings
  let config = {}

  /**
   * A command asks for its directory like a file: where the user is to be asked, it is given a copy's,
   * which OpenCode asks for in the words of the real one.
   */
  async function begin(entry, args, shell) {
    if (!program) throw cantRoute("it doesn't know its own program")
    const { variable, file } = firstFile(shellOf(config))
    const told = path.resolve(directory, args.workdir ?? "")
    const where = isBelow(shell.directory, told) ? told : shell.directory
    const inside = (place) => path.join(place, "any")
    const rules = await rights.rulesFor(entry)
    const isAsking = rights.onDirectory([where, shell.directory].map(inside), rules) === "ask" || shell.ask
    const route = { shell: { variable, file }, restore() {}, pending: true }
    if (isAsking) Object.assign(route, asked(args, where, shell.operation, rules))
    if (entry.over) throw new Refusal(ABORTED)
    entry.route = routes.open(entry, route)
  }

  function asked(args, where, operation, rules) {
    const pattern = path.join(where, "*")
    const copy = path.join(stage, stageName("ask", "ask"), operation) + where
    rights.confirm("ask", "external_directory", path.join(copy, "*"), rules)
    fs.mkdirSync(copy, { recursive: true, mode: 0o700 })
    return {
      copies: copiesOf({ [where]: copy }, stage, worktree),
      asking: { external_directory: [pattern] },
      restore: exchanged(args, { workdir: copy }),
    }
  }

  /** Right before the command would run: its shell is led away. */
  function lead(entry, { session, call }, env) {
    const route = routes.get(session, call)
    if (!route?.shell) return
    route.restore()
    if (!route.pending || entry?.route !== route) throw new Refusal(ABORTED)
    route.pending = false
    const { variable, file } = route.shell
    const place = written(file)
    env[variable] = variable === "ZDOTDIR" ? path.dirname(place) : place
    env.REPOD_BIN = program
    env.REPOD_ROUTED = socket
    env.REPOD_ROUTED_CALL = JSON.stringify({ token, session, call })
  }

  return { begin, lead, configured: (value) => void (config = value) }
}
