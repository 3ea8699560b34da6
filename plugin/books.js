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
  const held = new Map()
  const key = (session, call) => `${session} ${call}`
  const find = (session, call) => calls.get(key(session, call))
  const of = (session) => [...calls.values()].filter((entry) => entry.session === session)

  function open(session, call, tool, what) {
    if (find(session, call)) {
      throw new Refusal("another call with the same id is still running, so this one was not done. Call it again.")
    }
    const before = of(session).at(-1)
    const entry = { session, call, tool, what, before, granted: false, over: false, leases: [], stop: new AbortController() }
    entry.asked = new Promise((resolve) => (entry.isAsked = resolve))
    calls.set(key(session, call), entry)
    return entry
  }

  /** Waits until the call that its session made just before has been asked for; its name, while it waits. */
  async function inOrder(entry) {
    const { before } = entry
    entry.before = undefined
    await before?.asked
    entry.isAsked()
    return before && !before.granted && !before.over ? before.call : undefined
  }

  function grant(entry, { lease, leases, foreign }, { root, title }) {
    entry.granted = true
    entry.onCopies = Boolean(foreign)
    entry.leases = (leases ?? [lease]).filter(Boolean).map(({ repo_id, branch, fence }) => {
      const name = JSON.stringify([root, repo_id, branch])
      const first = held.get(name)?.session ?? entry.session
      held.set(name, { repo_id, branch, fence, root, session: first, title })
      return name
    })
  }

  /** Takes a call out; false when somebody else has. */
  function close(entry) {
    if (entry.over) return false
    entry.over = true
    entry.isAsked()
    calls.delete(key(entry.session, entry.call))
    return true
  }

  /** A call made by a granted one (code mode names them `<call>/<n>`) runs under its grant. */
  function isInsideGranted(session, call) {
    const end = call.lastIndexOf("/")
    return end > 0 && find(session, call.slice(0, end))?.granted === true
  }

  /** What a daemon that lost its books must know. A lease outlives its calls: it ends with the turn. */
  function holdings() {
    return [...held].map(([name, lease]) => {
      const mine = [...calls.values()].filter((entry) => entry.leases.includes(name))
      return { ...lease, calls: mine.map(({ call, session, tool, what }) => ({ call, session, tool, what })) }
    })
  }

  function dropLeases(root) {
    for (const [name, lease] of held) if (lease.root === root) held.delete(name)
  }

  const hasLease = (root) => [...held.values()].some((lease) => lease.root === root)
  return {
    ...{ open, inOrder, grant, close, find, of, isInsideGranted, hasLease, dropLeases },
    all: () => [...calls.values()],
    held: holdings,
  }
}

