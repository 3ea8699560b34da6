// A daemon's dashboard without a daemon: the built files and the answers given, under the very policy that the
// real one sends. For states that are hard to bring about for real.

import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const web = join(dirname(fileURLToPath(import.meta.url)), "..");
const KINDS = { html: "text/html; charset=utf-8", js: "text/javascript", css: "text/css", svg: "image/svg+xml", txt: "text/plain" };

/** What the real one forbids, read where it is written. */
async function policy() {
  const source = await readFile(join(web, "../crates/repod/src/web/headers.rs"), "utf8");
  return /POLICY: &str = "([^"]*)"/.exec(source)[1].replace(/\\\n\s*/g, "");
}

const json = (response, status, body) => {
  response.writeHead(status, { "content-type": "application/json", "cache-control": "no-store" });
  response.end(JSON.stringify(body));
};

/**
 * @param answers by `METHOD /path`: a value, or a function of the URL and the body; an array of events for a stream
 */
export async function fake(answers, dist = join(web, "dist")) {
  const csp = await policy();
  const asked = [];
  const server = createServer(async (request, response) => {
    const url = new URL(request.url, "http://127.0.0.1");
    let body = "";
    for await (const piece of request) body += piece;
    asked.push({ method: request.method, path: url.pathname, body });
    response.setHeader("content-security-policy", csp);
    if (url.pathname === "/login") {
      const good = JSON.parse(body).invitation === "ab12";
      return good ? json(response, 200, { pass: "p", expires_at: "" }) : json(response, 401, { error: { code: "unauthorized", message: "used" } });
    }
    if (url.pathname === "/logout") return response.writeHead(204).end();
    if (url.pathname.startsWith("/v1/")) {
      if (request.headers.authorization !== "Bearer p") return json(response, 401, { error: { code: "unauthorized", message: "no" } });
      const found = answers[`${request.method} ${url.pathname}`] ?? answers[`${request.method} ${url.pathname.split("/").slice(0, -1).join("/")}/*`];
      const answer = typeof found === "function" ? found(url, body) : found;
      if (answer === undefined) return json(response, 404, { error: { code: "no_such_route", message: `no ${url.pathname}` } });
      if (answer.error) return json(response, answer.status ?? 500, answer);
      if (!answer.stream) return json(response, 200, answer);
      response.writeHead(200, { "content-type": "application/x-ndjson" });
      for (const event of answer.stream) response.write(`${JSON.stringify(event)}\n`);
      return answer.open ? undefined : response.end();
    }
    const name = url.pathname === "/" ? "index.html" : url.pathname.slice(1);
    const bytes = await readFile(join(dist, name)).catch(() => null);
    if (!bytes || name.includes("/")) return response.writeHead(404).end();
    response.writeHead(200, { "content-type": KINDS[name.split(".").at(-1)] });
    response.end(bytes);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const origin = `http://127.0.0.1:${server.address().port}`;
  const close = () => { server.closeAllConnections(); return new Promise((resolve) => server.close(resolve)); };
  return { origin, url: `${origin}/#login=ab12`, answers, asked, close };
}
