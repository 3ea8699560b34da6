// The package's door: ensureRunning, and the SDK's client on what it answers.

import { RepodError } from "./error.js";
import { ensureRunning } from "./ensure.js";

export { ensureRunning, RepodError };

/** The SDK's own client, with base URL, directory and credentials set. */
export async function createClient(repoRoot, options = {}) {
  const { client: config = {}, ...ensure } = options;
  // The SDK first: without it, no backend needs to be started.
  const { createOpencodeClient } = await sdk();
  const endpoint = await ensureRunning(repoRoot, ensure);
  if (!endpoint.url) {
    throw new RepodError({ code: "not_running", message: `\`${endpoint.root}\` has no URL yet` });
  }
  const password = endpoint.password ?? "";
  const credentials = Buffer.from(`${endpoint.username}:${password}`).toString("base64");
  return createOpencodeClient({
    directory: endpoint.directory,
    ...config,
    baseUrl: endpoint.url,
    headers: { ...config.headers, Authorization: `Basic ${credentials}` },
  });
}

async function sdk() {
  try {
    return await import("@opencode-ai/sdk/client");
  } catch (cause) {
    throw new RepodError(
      {
        code: "sdk_missing",
        message: "createClient needs the package @opencode-ai/sdk, which can't be loaded",
        hint: "npm install @opencode-ai/sdk",
      },
      { cause },
    );
  }
}
