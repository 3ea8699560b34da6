// SDK programs as people write them, with nothing of repod in it:
// node sdk.mjs NODE_MODULES COUNT PROMPT
// Each starts "its" server, follows the events, has a turn by the first and one by the second
// generation of the client, says what it saw, and ends its server when this program's input ends.
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [modules, count, prompt] = process.argv.slice(2);
const load = (file) => import(pathToFileURL(join(modules, "@opencode-ai/sdk/dist", file)));
const v1 = await load("index.js");
const v2 = await load("v2/index.js");

const throwOnError = true;
const parts = [{ type: "text", text: prompt }];
const textOf = (message) => message.parts.filter((p) => p.type === "text").map((p) => p.text).join("");

/** Reads events from now on; the answer waits for the end of a session's turn. */
async function follow(events) {
  const first = await events.stream.next();
  if (first.value?.type !== "server.connected") throw new Error(`first: ${JSON.stringify(first)}`);
  return async (sessionID) => {
    for await (const event of events.stream) {
      if (event.type === "session.idle" && event.properties.sessionID === sessionID) return;
    }
    throw new Error("the events ended");
  };
}

async function older(baseUrl) {
  const client = v1.createOpencodeClient({ baseUrl });
  const ended = await follow(await client.event.subscribe());
  const session = (await client.session.create({ body: {}, throwOnError })).data;
  const reply = await client.session.prompt({ path: { id: session.id }, body: { parts }, throwOnError });
  await ended(session.id);
  return { directory: session.directory, text: textOf(reply.data) };
}

async function newer(baseUrl) {
  const client = v2.createOpencodeClient({ baseUrl });
  const ended = await follow(await client.event.subscribe());
  const session = (await client.session.create({}, { throwOnError })).data;
  const reply = await client.session.prompt({ sessionID: session.id, parts }, { throwOnError });
  await ended(session.id);
  return { directory: session.directory, text: textOf(reply.data) };
}

const servers = await Promise.all(
  Array.from({ length: Number(count) }, async (_, n) => (await (n % 2 ? v2 : v1).createOpencode()).server),
);
try {
  await Promise.all(
    servers.map(async ({ url }) => {
      console.log(JSON.stringify({ url, v1: await older(url), v2: await newer(url) }));
    }),
  );
  console.log("done");
  for await (const _ of process.stdin);
} finally {
  for (const server of servers) server.close();
}
