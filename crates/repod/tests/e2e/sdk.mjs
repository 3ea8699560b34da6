// An SDK program as people write it, with nothing of repod in it: node sdk.mjs NODE_MODULES COUNT
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [modules, count] = process.argv.slice(2);
const load = (file) => import(pathToFileURL(join(modules, "@opencode-ai/sdk/dist", file)));
const { createOpencode } = await load("index.js");
const v2 = await load("v2/index.js");

const programs = Array.from({ length: Number(count) }, async () => {
  const { client, server } = await createOpencode();
  try {
    const session = await client.session.create({ body: {}, throwOnError: true });
    // The second generation of the client on the same server.
    const newer = v2.createOpencodeClient({ baseUrl: server.url });
    const found = await newer.session.get({ sessionID: session.data.id }, { throwOnError: true });
    console.log(JSON.stringify({ url: server.url, directory: found.data.directory }));
  } finally {
    server.close();
  }
});
await Promise.all(programs);
