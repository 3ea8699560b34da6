// ensureRunning: HTTP on repod.sock where a daemon listens; else the repod binary, which alone knows
// how to start one exactly once.

import { spawn } from "node:child_process";
import { request } from "node:http";
import { homedir } from "node:os";
import { isAbsolute, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { RepodError } from "./error.js";

/** Longest path that fits into a Unix socket's address. */
const SOCKET_PATH_MAX = 107;
/** More than this is no answer of repod. */
const ANSWER_MAX = 64 * 1024 * 1024;
/** No daemon there, or one that died before it answered: ensuring twice does no harm. */
const NOBODY = new Set(["ENOENT", "ECONNREFUSED", "ECONNRESET", "EPIPE"]);

/** Ensures that the repository `repoRoot` lies in has a backend; answers with its endpoint. */
export async function ensureRunning(repoRoot, options = {}) {
  options.signal?.throwIfAborted();
  const path = resolve(repoRoot instanceof URL ? fileURLToPath(repoRoot) : repoRoot);
  const env = options.env ?? process.env;
  const home = homeOf(options.home, env);
  try {
    return await overSocket(join(home, "repod.sock"), path, env, options);
  } catch (error) {
    if (!NOBODY.has(error?.code)) throw error;
  }
  return byBinary(home, path, env, options);
}

function homeOf(named, env) {
  const home = named ?? (env.REPOD_HOME || join(env.HOME || homedir(), ".opencode"));
  if (!isAbsolute(home)) {
    const message = `repod's home \`${home}\` is not an absolute path`;
    throw new RepodError({ code: "home_unusable", message, hint: "set REPOD_HOME" });
  }
  const length = Buffer.byteLength(join(home, "repod.sock"));
  if (length > SOCKET_PATH_MAX) {
    const message = `repod's home \`${home}\` is too long for a Unix socket`;
    throw new RepodError({ code: "home_unusable", message, hint: "set REPOD_HOME to a shorter path" });
  }
  return home;
}

function overSocket(socketPath, path, env, { start = true, timeoutSeconds, signal }) {
  const values = Object.entries(env).filter(([, value]) => typeof value === "string");
  const body = JSON.stringify({
    path,
    start,
    env: Object.fromEntries(values),
    timeout_seconds: timeoutSeconds,
  });
  return new Promise((fulfil, reject) => {
    const headers = { "content-type": "application/json", "content-length": Buffer.byteLength(body) };
    const asked = request(
      { socketPath, method: "POST", path: "/v1/ensure", headers, signal, agent: false },
      (response) => {
        collect(response, (text) => {
          const answer = parse(text);
          if (response.statusCode === 200 && answer) return fulfil(answer);
          reject(RepodError.from(answer) ?? garbled(`HTTP ${response.statusCode}`));
        }, reject);
      },
    );
    asked.on("error", (error) => reject(signal?.aborted ? signal.reason : hungUp(error)));
    asked.end(body);
  });
}

/** Bun and Node name a connection that ended without an answer differently. */
function hungUp(error) {
  if (/socket hang up|closed unexpectedly/i.test(error.message ?? "")) {
    return Object.assign(error, { code: "ECONNRESET" });
  }
  return error;
}

function byBinary(home, path, env, { start = true, repod, timeoutSeconds, signal }) {
  const program = repod ?? (env.REPOD_BIN || "repod");
  const args = ["ensure", "--json", ...(start ? [] : ["--no-start"]), "--", path];
  return new Promise((fulfil, reject) => {
    const child = spawn(program, args, {
      env: { ...env, REPOD_HOME: home },
      stdio: ["ignore", "pipe", "pipe"],
      signal,
    });
    const late = timeoutSeconds && setTimeout(() => {
      child.kill();
      const message = `the backend was not ready within ${timeoutSeconds} s; its start goes on`;
      reject(new RepodError({ code: "deadline", message }));
    }, timeoutSeconds * 1000);
    let [out, err] = ["", ""];
    child.stdout.setEncoding("utf8").on("data", (text) => (out += text));
    child.stderr.setEncoding("utf8").on("data", (text) => (err = (err + text).slice(-4096)));
    child.on("error", (cause) => {
      clearTimeout(late);
      if (signal?.aborted) return reject(signal.reason);
      const message = `no daemon listens in \`${home}\`, and \`${program}\` can't be run`;
      const hint = "put repod on the PATH, or name it in REPOD_BIN";
      reject(new RepodError({ code: "daemon_unavailable", message, hint }, { cause }));
    });
    child.on("close", (status) => {
      clearTimeout(late);
      const answer = parse(out);
      if (status === 0 && answer) return fulfil(answer);
      reject(RepodError.from(answer) ?? garbled(`\`${program}\` ended with ${status}: ${err.trim()}`));
    });
  });
}

function collect(response, done, failed) {
  let [text, size] = ["", 0];
  response.setEncoding("utf8");
  response.on("data", (chunk) => {
    size += chunk.length;
    if (size > ANSWER_MAX) response.destroy(garbled("it is too large"));
    else text += chunk;
  });
  response.on("end", () => done(text));
  response.on("error", failed);
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function garbled(cause) {
  return new RepodError({
    code: "daemon_unavailable",
    message: `repod's answer can't be read: ${cause}`,
    hint: "`repod version` shows whether the daemon is of another version",
  });
}
