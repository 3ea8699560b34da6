// --- Foreign files -----------------------------------------------------------------------------

/** Writes, edits and patches on copies; what came of them is applied by the daemon. */
function foreignFiles({ directory, worktree }, { stage }, daemon, rights, routes) {
  /** Makes a granted call work on copies: what stands in `args` afterwards are their paths. */
  async function begin(entry, args, { operation, named, ask }) {
    const { session, call, tool } = entry
    const realOf = new Map(Object.entries(named))
    const told = pathsOf(tool, args, directory)
    if ([...realOf.keys()].some((file) => !told.all.includes(file))) {
      throw new Refusal("repod reads the paths of this call otherwise than OpenCode, so it was not done. Name the files by absolute paths.")
    }
    // What isn't named lies in no repository, and stays where it is.
    const [all, edits] = [told.all, told.edits].map((files) => files.filter((file) => realOf.has(file)))
    const namesOf = (file) => [file, realOf.get(file)]

    const rules = await rights.rulesFor(entry)
    const isAsking = (file) => rights.onDirectory(namesOf(file), rules) === "ask"
    const asking = all.filter(isAsking)
    const onEdit = rights.onEdit(edits.flatMap(namesOf), rules)
    const edit = ask ? "ask" : onEdit

    const name = stageName(edit, asking.length > 0 ? "ask" : "allow")
    const files = await daemon.stage({ session, call, name }, entry.stop.signal)
    if (entry.over) throw new Refusal(ABORTED)
    const copies = copiesOf(files, stage, worktree)
    const copyOf = (file) => copies.of(realOf.get(file))
    for (const file of all) {
      const wanted = asking.includes(file) ? "ask" : "allow"
      rights.confirm(wanted, "external_directory", rights.directoryPattern(copyOf(file)), rules)
    }
    for (const file of edits) rights.confirm(edit, "edit", rights.editPattern(copyOf(file)), rules)

    entry.route = routes.open(entry, {
      operation,
      copies,
      asking: {
        external_directory: asking.flatMap(namesOf).map(rights.directoryPattern),
        edit: edit === "ask" ? edits.flatMap(namesOf).map(rights.editPattern) : [],
      },
      restore: exchanged(args, withCopies(tool, args, directory, realOf, copies)),
      pending: true,
    })
  }

  /** After OpenCode's tool has changed the copies. */
  async function commit(entry, result) {
    const { session, call, route } = entry
    route.restore()
    route.pending = false
    // It goes on after an abort, and so must all that depends on the copies.
    const { operation } = route
    const applying = daemon.commit({ operation, session, call }, AbortSignal.timeout(LONGEST_ASK))
    entry.busy = applying.catch(() => {})
    const done = await applying
    rename(result, route.copies.inRealWords)
    if (done.title) result.title = done.title
    if (done.output) result.output = done.output
    result.metadata = { ...result.metadata, repod: { operation, targets: done.targets ?? [] } }
    // What a language server says of a copy outside its project helps nobody.
    if (result.metadata.diagnostics) result.metadata.diagnostics = {}
    if (entry.over) routes.mend(route, result)
  }

  /** Whether the model itself names copies: the rules for them are not meant for it. */
  function namesCopies(tool, args) {
    if (!stage || !("filePath" in args || "patchText" in args)) return false
    return pathsOf(tool, args, directory).all.some((file) => isBelow(stage, file))
  }

  return { begin, commit, namesCopies }
}
