// --- Copies of foreign files -------------------------------------------------------------------
//
// A copy lies at `<stage>/<name>/<operation>` + the real absolute path, so that naming the real
// path again is a matter of text.

const PATCHED = /^\*\*\* (?:Add|Delete|Update) File:/
const MOVED = "*** Move to:"

/** The lines of a patch that name files, as OpenCode 1.18 reads it: index, head and path. */
function patchHeads(lines) {
  const begin = lines.findIndex((line) => line.trim() === "*** Begin Patch")
  const end = lines.findIndex((line) => line.trim() === "*** End Patch")
  const heads = []
  for (let at = begin + 1; begin >= 0 && at < end; at++) {
    const line = lines[at]
    const moves = line.startsWith(MOVED) && lines[at - 1].startsWith("*** Update File:")
    const head = moves ? MOVED : PATCHED.exec(line)?.[0]
    if (head) heads.push({ at, head, moves, path: line.slice(head.length).trim() })
  }
  return heads
}

/** The files a call names, as OpenCode 1.18 finds them; `edits` are those it asks `edit` for. */
function pathsOf(tool, args, directory) {
  if (tool !== "apply_patch") {
    const file = path.resolve(directory, args.filePath)
    return { all: [file], edits: [file] }
  }
  const heads = patchHeads(args.patchText.split("\n"))
  const at = (head) => path.resolve(directory, head.path)
  return { all: heads.map(at), edits: heads.filter(({ moves }) => !moves).map(at) }
}

const isBelow = (directory, file) => {
  const from = path.relative(directory, file)
  return from !== ".." && !from.startsWith("../") && !path.isAbsolute(from)
}

/** The copies of one call, and how a text that names them comes to name the real files. */
function copiesOf(files, stage, worktree) {
  const copies = new Map(Object.entries(files ?? {}))
  const prefixes = new Set()
  for (const [real, copy] of copies) {
    if (!copy.endsWith(real) || !isBelow(stage, copy)) throw new Error(`${copy} is no copy of ${real}`)
    prefixes.add(copy.slice(0, -real.length))
  }
  if (prefixes.size !== 1) throw new Error("there are no copies")
  const [prefix] = prefixes
  const relative = (file) => path.relative(worktree, file)
  // A longer path first: another may be the beginning of it.
  const names = [...copies].sort(([a], [b]) => b.length - a.length)
  const pairs = names.map(([real, copy]) => [relative(copy), relative(real)])

  function inRealWords(text) {
    if (!text.includes(path.basename(prefix))) return text
    for (const [copy, real] of pairs) text = text.replaceAll(copy, real)
    return text.replaceAll(prefix, "")
  }
  return {
    prefix,
    inRealWords,
    of(real) {
      const copy = copies.get(real)
      if (!copy) throw new Error(`there is no copy of ${real}`)
      return copy
    },
  }
}

/** Names the real files in every text of `value`, in place; whether anything was changed. */
function rename(value, inRealWords, depth = 0) {
  let changed = false
  if (typeof value !== "object" || value === null || depth > 16) return changed
  for (const [key, item] of Object.entries(value)) {
    if (typeof item === "string") {
      const real = inRealWords(item)
      if (real === item) continue
      value[key] = real
      changed = true
    } else if (rename(item, inRealWords, depth + 1)) changed = true
  }
  return changed
}

/** The arguments of a call, with the copies of those files that have one. */
function withCopies(tool, args, directory, realOf, copies) {
  const copyOf = (name) => {
    const real = realOf.get(path.resolve(directory, name))
    return real && copies.of(real)
  }
  if (tool !== "apply_patch") return { filePath: copyOf(args.filePath) ?? args.filePath }
  const lines = args.patchText.split("\n")
  for (const { at, head, path: name } of patchHeads(lines)) {
    const copy = copyOf(name)
    if (copy) lines[at] = `${head} ${copy}`
  }
  return { patchText: lines.join("\n") }
}
