// The package against the real daemon and the real OpenCode.

import assert from "node:assert/strict";
import { mkdir, symlink } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { createClient, ensureRunning, RepodError } from "@repod/client";
import { world } from "./world.js";

const refusal = (code) => (error) => {
  assert.ok(error instanceof RepodError, String(error));
  assert.equal(error.code, code, error.message);
  assert.ok(error.message);
  return true;
};

test("from nothing, ten callers get one daemon, one backend, one answer", async (t) => {
  const w = await world();
  t.after(w.close);
  const repo = await w.repo("web");
  await mkdir(join(repo, "deep"));
  await symlink(repo, join(w.root, "link"));
  await assert.rejects(ensureRunning(repo, { env: w.env, start: false }), refusal("not_running"));
  const places = [repo, join(repo, "deep"), join(w.root, "link"), new URL(`file://${repo}/deep`)];
  const asked = Array.from({ length: 10 }, (_, n) => ensureRunning(places[n % 4], { env: w.env }));
  const endpoints = await Promise.all(asked);
  for (const endpoint of endpoints) assert.deepEqual(endpoint, endpoints[0]);
  const [{ root, directory, state, backend, url, password }] = endpoints;
  assert.deepEqual([root, directory, state], [repo, repo, "ready"]);
  assert.ok(backend.pid > 0 && password && /^http:\/\/127\.0\.0\.1:\d+$/.test(url));
  // Without the binary: by the socket alone.
  const warm = await ensureRunning(repo, { env: { ...w.env, REPOD_BIN: "/nowhere/repod" } });
  assert.deepEqual(warm, endpoints[0]);
});

test("createClient is the SDK's client, and a turn goes through", async (t) => {
  const w = await world();
  t.after(w.close);
  const repo = await w.repo("web");
  const client = await createClient(join(repo), { env: w.env });
  const created = await client.session.create({ body: { title: "mine" }, throwOnError: true });
  assert.equal(created.data.directory, repo);
  const events = await client.event.subscribe();
  const first = await events.stream.next();
  assert.equal(first.value.type, "server.connected");
  await events.stream.return();
  const text = 'hello\nSCRIPT: [{"text":"from the model"}]';
  const turn = await client.session.prompt({
    path: { id: created.data.id },
    body: { parts: [{ type: "text", text }] },
    throwOnError: true,
  });
  const said = turn.data.parts.filter((part) => part.type === "text").map((part) => part.text);
  assert.deepEqual(said, ["from the model"]);
  // A second program in the same repository sees it.
  const other = await createClient(repo, { env: w.env, client: { headers: { "x-mine": "1" } } });
  const listed = await other.session.list({ throwOnError: true });
  assert.deepEqual(listed.data.map((session) => session.id), [created.data.id]);
});

test("errors have a code, a cause and a hint, by the binary and by the socket", async (t) => {
  const w = await world();
  t.after(w.close);
  const { env } = w;
  const repo = await w.repo("web");
  await assert.rejects(ensureRunning(join(w.root, "missing"), { env }), refusal("path_not_found"));
  // Now a daemon listens.
  await assert.rejects(ensureRunning(join(w.root, "missing"), { env }), refusal("path_not_found"));
  await assert.rejects(ensureRunning(repo, { env, start: false }), (error) => {
    return refusal("not_running")(error) && typeof error.hint === "string";
  });
  const home = join(w.root, "x".repeat(120));
  await assert.rejects(ensureRunning(repo, { env, home }), refusal("home_unusable"));
  await assert.rejects(ensureRunning(repo, { env, home: "relative" }), refusal("home_unusable"));
  const nowhere = { env, home: join(w.root, "h"), repod: "/nowhere/repod" };
  await assert.rejects(ensureRunning(repo, nowhere), refusal("daemon_unavailable"));
  const signal = AbortSignal.abort(new Error("enough"));
  await assert.rejects(ensureRunning(repo, { env, signal }), /enough/);
});

test("a daemon that hangs up without an answer is asked again through the binary", async (t) => {
  const w = await world();
  t.after(w.close);
  const repo = await w.repo("web");
  const home = join(w.root, "h");
  await mkdir(home, { mode: 0o700 });
  const rude = createServer((socket) => socket.once("data", () => socket.end()));
  await new Promise((listening) => rude.listen(join(home, "repod.sock"), listening));
  t.after(() => rude.close());
  // The binary says what is the matter there: it asks, too, and is not answered either.
  const env = { ...w.env, REPOD_BIN: "/bin/false" };
  await assert.rejects(ensureRunning(repo, { env, home }), refusal("daemon_unavailable"));
});
