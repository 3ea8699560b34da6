// An editor's side of the Agent Client Protocol: the official SDK, driven line by line by the test.
// node acp.mjs NODE_MODULES PROGRAM [ARGS]
// In: {"id":1,"call":"session/new","params":{…}}, {"notify":"session/cancel","params":{…}} or
// {"answer":1,"result":…}. Out: {"id":1,"result":…} or {"id":1,"failed":…}, {"update":…}, {"asked":1,"method":…}.
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { Readable, Writable } from "node:stream";
import { pathToFileURL } from "node:url";

const [modules, program, ...args] = process.argv.slice(2);
const acp = await import(pathToFileURL(`${modules}/@agentclientprotocol/sdk/dist/v1/stable/acp.js`));

const say = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);
const agent = spawn(program, args, { stdio: ["pipe", "pipe", "inherit"] });
const exited = new Promise((resolve) => agent.on("exit", resolve));
const stream = acp.ndJsonStream(Writable.toWeb(agent.stdin), Readable.toWeb(agent.stdout));

const asked = new Map();
const ask = (method) => (context) =>
  new Promise((resolve) => {
    const number = asked.size + 1;
    asked.set(number, resolve);
    context.signal?.addEventListener?.("abort", () => say({ withdrawn: number }));
    say({ asked: number, method, params: context.params });
  });
const { client: methods } = acp.methods;
const editor = acp
  .client({ name: "a test's editor" })
  .onNotification(methods.session.update, ({ params }) => say({ update: params }))
  .onRequest(methods.session.requestPermission, ask("permission"))
  .onRequest(methods.fs.readTextFile, ask("read"))
  .onRequest(methods.fs.writeTextFile, ask("write"));

say({ pid: agent.pid });
await editor.connectWith(stream, async (connection) => {
  for await (const line of createInterface({ input: process.stdin })) {
    const { id, call, notify, params, answer, result } = JSON.parse(line);
    if (answer !== undefined) asked.get(answer)(result);
    else if (notify !== undefined) await connection.notify(notify, params);
    else
      connection.request(call, params).then(
        (result) => say({ id, result }),
        (error) => say({ id, failed: { code: error.code, message: String(error.message) } }),
      );
  }
  agent.stdin.end();
  await exited;
}).catch((error) => {
  // The agent's end is the connection's.
  if (agent.exitCode === null && !agent.stdin.writableEnded) throw error;
});
say({ exit: await exited });
process.exit(0);
