// A program as people write them: its own server, on any port, until its input ends.
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const { createOpencode } = await import(
  pathToFileURL(join(process.argv[2], "@opencode-ai/sdk/dist/index.js"))
);
const { server } = await createOpencode({ port: 0, timeout: 60_000 });
console.log(`ready ${server.url}`);
process.stdin.on("end", () => server.close()).resume();
