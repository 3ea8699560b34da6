// --- Reading registered repositories -----------------------------------------------------------

/**
 * Reading in a repository that was registered after the start, when the rules for reading were made:
 * its question is answered here, unless the user has a rule for that directory.
 */
function registeredReading(daemon, rights, alive, book) {
  const lies = (pattern) => (root) => pattern.endsWith("/*") && isBelow(root, pattern.slice(0, -2))

  function isReading({ sessionID, tool }) {
    const name = alive.toolOf(sessionID, tool.callID)
    if (name !== "bash") return READING.has(name)
    const entry = book.find(sessionID, tool.callID)
    return entry?.granted === true && entry.leases.length === 0 && !entry.route
  }

  return async function isFree(request) {
    const { permission, patterns, sessionID, tool } = request
    if (permission !== "external_directory" || !tool || !isReading(request)) return false
    const roots = await daemon.roots()
    if (!patterns.every((pattern) => roots.some(lies(pattern)))) return false
    const signal = AbortSignal.timeout(OWN_CALL)
    const { users } = await rights.rulesFor({ session: sessionID, call: tool.callID, stop: { signal } })
    return patterns.every((pattern) => !lastMatch(users, permission, pattern))
  }
}
