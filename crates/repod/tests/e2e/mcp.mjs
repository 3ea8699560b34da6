// A client of the Model Context Protocol: the official SDK, driven line by line by the test.
// node mcp.mjs NODE_MODULES REPOD [ARGS of `repod`]
// In: {"id":1,"tool":"…","arguments":{…}} or {"cancel":1}. Out: {"id":1,"result":…} or {"id":1,"failed":"…"}.
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const [modules, repod, ...args] = process.argv.slice(2);
const load = (path) => import(pathToFileURL(`${modules}/@modelcontextprotocol/sdk/dist/esm/client/${path}.js`));
const { Client } = await load("index");
const { StdioClientTransport } = await load("stdio");

const say = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);
const transport = new StdioClientTransport({ command: repod, args, env: process.env, cwd: process.cwd(), stderr: "inherit" });
const client = new Client({ name: "a test's client", version: "1" });
client.onerror = (error) => say({ error: String(error) });
await client.connect(transport);
const { tools } = await client.listTools();
say({ server: client.getServerVersion(), instructions: client.getInstructions(), pid: transport.pid, tools });

const running = new Map();
for await (const line of createInterface({ input: process.stdin })) {
  const { id, tool, arguments: given, cancel } = JSON.parse(line);
  if (cancel !== undefined) {
    running.get(cancel)?.abort("the test takes it back");
    continue;
  }
  const controller = new AbortController();
  running.set(id, controller);
  client
    .callTool({ name: tool, arguments: given }, undefined, { signal: controller.signal, timeout: 120_000 })
    .then((result) => say({ id, result }), (error) => say({ id, failed: String(error) }));
}
await client.close();
say({ closed: true });
