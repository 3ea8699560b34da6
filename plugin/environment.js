// repod's guard: the one plugin repod adds to every backend it starts.
//
// OpenCode loads it once per directory instance, last of all plugins, so it sees final arguments.
// It is embedded in the repod binary, its files joined into one (`v1_18/plugin.rs` has their order),
// and written beside the backend's state before each start. Plain JavaScript, and no imports but
// Node's own modules: an import that fails would turn the guard off without a word.
//
// Each concern is one function that returns hooks; `compose` joins them. A hook of a concern that
// only serves comfort must never throw: whatever goes wrong in it, the agent's command still runs.

import fs from "node:fs"
import path from "node:path"

/** Never for tools, even when the options got lost on the way. */
const SECRETS = ["OPENCODE_SERVER_PASSWORD", "OPENCODE_SERVER_USERNAME", "OPENCODE_CONFIG_CONTENT"]

/**
 * Tools and terminals see the user's own environment, not the backend's.
 *
 * Deleting a key does not unset it in OpenCode 1.18, so "unset" is the empty string, which is what
 * the XDG specification and npm take it for.
 */
function userEnvironment(options) {
  const values = options && typeof options.env === "object" && options.env !== null ? options.env : {}
  return {
    "shell.env": async (_input, output) => {
      try {
        for (const name of SECRETS) output.env[name] = ""
        for (const [name, value] of Object.entries(values)) {
          if (typeof value === "string") output.env[name] = value
        }
      } catch {
        // Comfort only: see above.
      }
    },
  }
}
