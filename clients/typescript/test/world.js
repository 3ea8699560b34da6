// A home, a repository and a daemon of its own for each test, and nobody left behind.

import { execFile, spawn } from "node:child_process";
import { mkdir, mkdtemp, realpath, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

function needed(name) {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set: run ./test, which sets it`);
  return value;
}

export async function world() {
  // Not TMPDIR: a Unix socket's path is short.
  const root = await realpath(await mkdtemp("/tmp/rts-"));
  const home = join(root, "home");
  const repod = needed("REPOD_BIN");
  const env = {
    PATH: process.env.PATH,
    HOME: home,
    TMPDIR: join(root, "t"),
    REPOD_HOME: join(root, "r"),
    REPOD_BIN: repod,
    REPOD_OPENCODE: needed("REPOD_OPENCODE"),
    GIT_CONFIG_NOSYSTEM: "1",
  };
  const model = spawn(needed("REPOD_MODEL"), { env, stdio: ["ignore", "pipe", "inherit"] });
  const [line] = await model.stdout.setEncoding("utf8").take(1).toArray();
  const baseURL = `${line.trim().split(" ").at(-1)}/v1`;
  await mkdir(join(home, ".config/opencode"), { recursive: true });
  await mkdir(env.TMPDIR);
  await writeFile(join(home, ".config/opencode/opencode.json"), JSON.stringify(config(baseURL)));

  async function repo(name) {
    const dir = join(root, name);
    await mkdir(dir);
    await run("git", ["init", "--quiet", "--initial-branch=main", dir], { env });
    return dir;
  }
  async function close() {
    await run(repod, ["shutdown", "--backends"], { env }).catch(() => {});
    model.kill();
    await rm(root, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  }
  return { root, env, repod, repo, close, run: (...args) => run(repod, args, { env }) };
}

function config(baseURL) {
  const limit = { context: 200000, output: 16384 };
  return {
    $schema: "https://opencode.ai/config.json",
    autoupdate: false,
    share: "disabled",
    model: "scripted/plain",
    small_model: "scripted/plain",
    provider: {
      scripted: {
        npm: "@ai-sdk/openai-compatible",
        options: { baseURL, apiKey: "none" },
        models: { plain: { name: "Scripted", tool_call: true, limit } },
      },
    },
  };
}
