// --- The daemon --------------------------------------------------------------------------------

/**
 * One HTTP exchange on a connection of its own; resolves when the daemon has closed it.
 *
 * Not `fetch`: on a Unix socket Bun 1.3's costs 170 µs, this 80; it also looks at proxy settings,
 * ends after 5 quiet minutes, and counts against 256 connections shared with the model's streams.
 * HTTP/1.0, so that the end of the answer is the end of the connection and nothing is chunked.
 * Of the answer, the first `keep` bytes are kept.
 */
function exchange(socket, path, body, { signal, keep = ANSWER_MAX } = {}) {
  let close
  const answer = new Promise((resolve, reject) => {
    const payload = Buffer.from(JSON.stringify(body))
    const head = `POST ${path} HTTP/1.0\r\nhost: repod\r\ncontent-type: application/json\r\ncontent-length: ${payload.length}\r\n\r\n`
    let unsent = Buffer.concat([Buffer.from(head), payload])
    let connection
    const received = []
    let size = 0
    const send = (to) => {
      if (unsent.length > 0) unsent = unsent.subarray(Math.max(0, to.write(unsent)))
    }
    close = () => {
      reject(new Error("given up"))
      connection?.terminate()
    }
    const finish = () => {
      const whole = parse(Buffer.concat(received))
      if (whole) resolve(whole)
      else reject(new Error("the connection was closed without an answer"))
    }
    if (signal?.aborted) return close()
    signal?.addEventListener("abort", close)
    Bun.connect({
      unix: socket,
      socket: {
        open(opened) {
          connection = opened
          if (signal?.aborted) opened.terminate()
          else send(opened)
        },
        drain: send,
        data(_, chunk) {
          if (size >= keep) return
          size += chunk.length
          received.push(Buffer.from(chunk))
        },
        close: finish,
        error: (_, error) => reject(error),
        connectError: (_, error) => reject(error),
      },
    }).catch(reject)
  })
  return answer.finally(() => signal?.removeEventListener("abort", close))
}

/** Status and body of an answer; `undefined` when it isn't whole. */
function parse(bytes) {
  const end = bytes.indexOf("\r\n\r\n")
  const head = /^HTTP\/1\.[01] (\d{3})/.exec(bytes.subarray(0, 16).toString("latin1"))
  if (end < 0 || !head) return undefined
  return { status: Number(head[1]), body: bytes.subarray(end + 4).toString() }
}

/** The body of a good answer. Throws a `Refusal` for "no", an `Error` for "ask again". */
function accepted({ status, body }) {
  let answer
  try {
    answer = JSON.parse(body)
  } catch {
    throw new Error("the answer was cut off")
  }
  if (status === 401 || status === 403) {
    throw new Refusal(
      "repod's daemon doesn't know this backend, so this call was not done. Ask the user to run `repod restart` in this repo.",
    )
  }
  const said = [answer?.error?.message, answer?.error?.hint].filter(Boolean).join("; ")
  if (status >= 500) throw new Error(said || `repod answered ${status}`)
  if (status !== 200) throw refused(said || `it answered ${status}`)
  return answer
}

const refused = (why) => new Refusal(`repod refused this call, so it was not done: ${why}`)

/** What an answer to an ask says. */
function verdict(answer) {
  if (answer?.run === true) return answer
  throw answer?.run === false && answer.message ? new Refusal(answer.message) : refused("it answered 200")
}

/** What became of a change. */
function outcome(answer) {
  if (answer?.done === true) return answer
  throw answer?.done === false && answer.message ? new Refusal(answer.message) : refused("it answered 200")
}

function daemonAt({ socket, token }, directory) {
  const post = (verb, body, how) =>
    exchange(socket, `/v1/guard/${verb}`, { token, ...body }, how)

  /** Posts until there is an answer, as long as the daemon isn't away for long. */
  async function patiently(verb, body, signal, read) {
    let giveUp = Date.now() + AWAY
    let wait = FIRST_PAUSE
    for (;;) {
      const began = Date.now()
      try {
        return read(accepted(await watched(verb, body, signal)))
      } catch (error) {
        if (signal.aborted || error instanceof Refusal) throw error
        if (Date.now() - began >= SETTLED) [giveUp, wait] = [Date.now() + AWAY, FIRST_PAUSE]
        if (Date.now() + wait > giveUp) throw new Refusal(away(verb, error?.message || error?.code || error))
      }
      await pause(wait, signal)
      wait = Math.min(wait * 2, LONGEST_PAUSE)
    }
  }

  /**
   * Posts, and gives up when the daemon is silent. An answer may take its time, but a daemon that is
   * stopped takes connections all the same: while it owes one, it is asked something easy besides.
   */
  async function watched(verb, body, signal) {
    const over = new AbortController()
    const silent = new AbortController()
    void (async () => {
      for (let heard = Date.now(); Date.now() - heard < AWAY; ) {
        await pause(PROBE_EVERY, over.signal)
        if (over.signal.aborted) return
        const limit = AbortSignal.any([over.signal, AbortSignal.timeout(PROBE_EVERY)])
        const answered = await post("repos", {}, { signal: limit }).catch(() => undefined)
        if (answered) heard = Date.now()
      }
      silent.abort()
    })()
    try {
      return await post(verb, body, { signal: AbortSignal.any([signal, silent.signal]) })
    } catch (error) {
      if (silent.signal.aborted) throw new Refusal(away(verb, "it is there and doesn't answer"))
      throw error
    } finally {
      over.abort()
    }
  }

  const away = (verb, why) =>
    verb === "commit"
      ? `repod can't be reached, so it is not known whether this write was done: ${why}. Look at the files before you go on. ${HINT}`
      : `repod can't be reached, so this write was not done: ${why}. ${HINT}`

  /** The leave for a call, and how it is to be run. Asking twice is harmless. */
  const ask = (body, signal) => patiently("ask", { directory, ...body }, signal, verdict)

  /** Copies of the files a foreign call names. */
  const stage = (body, signal) => patiently("stage", body, signal, (answer) => answer.files)

  /** Applies what was done to the copies. The call's id keeps it from being done twice. */
  const commit = (body, signal) => patiently("commit", body, signal, outcome)

  /** Where the registered repositories are. Once, and not for long. */
  async function roots() {
    const signal = AbortSignal.timeout(SECOND)
    return accepted(await post("repos", {}, { signal })).roots.filter((root) => path.isAbsolute(root))
  }

  /** Tells that a call has ended; tries for a while when the daemon is away. Never rejects. */
  async function report(session, call) {
    const limit = AbortSignal.timeout(REPORT_TRIES)
    for (let wait = FIRST_PAUSE; !limit.aborted; wait = Math.min(wait * 2, LONGEST_PAUSE)) {
      try {
        const { status } = await post("report", { session, call }, { signal: limit })
        if (status < 500) return
      } catch {
        // Away: the next hello tells what is held, and this call isn't.
      }
      await pause(wait, limit)
    }
  }

  /** Keeps a hello open until `signal` fires: the sign that this directory is guarded. */
  async function hello(worktree, held, signal) {
    for (let wait = FIRST_PAUSE; !signal.aborted; wait = Math.min(wait * 2, LONGEST_PAUSE)) {
      const began = Date.now()
      let unwanted = false
      try {
        const body = { directory, worktree, held: held() }
        const { status } = await post("hello", body, { signal, keep: HEAD_MAX })
        unwanted = status === 401 || status === 403
      } catch {
        // Away.
      }
      if (Date.now() - began >= SETTLED) wait = FIRST_PAUSE
      await pause(unwanted ? UNWANTED_PAUSE : wait, signal)
    }
  }

  return { ask, stage, commit, roots, report, hello }
}
