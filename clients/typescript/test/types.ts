// Compiled by `tsc --noEmit`, never run: the types fit what people write.

import { createClient, ensureRunning, RepodError, type Endpoint } from "@repod/client";

export async function use(): Promise<string[]> {
  const endpoint: Endpoint = await ensureRunning(".", { timeoutSeconds: 30, env: process.env });
  const state: "ready" | string = endpoint.state;
  const client = await createClient(new URL("file:///src/web"), { client: { headers: { a: "b" } } });
  const sessions = await client.session.list();
  try {
    // @ts-expect-error: the base URL is the endpoint's.
    await createClient(".", { client: { baseUrl: "http://x" } });
  } catch (error) {
    if (error instanceof RepodError && error.code === "not_running") return [error.hint ?? state];
  }
  return (sessions.data ?? []).map((session) => session.id);
}
