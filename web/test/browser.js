// A headless Chromium, and what is demanded of every page it shows.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const BOUND = 60_000;
const PLACES = [process.env.REPOD_CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
const ARGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"];
const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

export function launch() {
  const executablePath = PLACES.find((path) => path && existsSync(path));
  assert.ok(executablePath, "no Chromium to test with: apt-get install chromium, or set REPOD_CHROMIUM");
  return chromium.launch({ executablePath, args: ARGS, timeout: BOUND });
}

/** A page that is listened to: what it asks for, what it is forbidden, what it says. */
export async function open(browser, origin, { dark = false, ...more } = {}) {
  // Without transitions: what is looked at is what stays.
  const looks = { viewport: { width: 1360, height: 860 }, colorScheme: dark ? "dark" : "light", reducedMotion: "reduce" };
  const context = await browser.newContext({ ...looks, ...more });
  context.setDefaultTimeout(BOUND);
  const page = await context.newPage();
  const seen = { errors: [], elsewhere: [], requests: [] };
  page.on("request", (request) => {
    seen.requests.push(request.url());
    if (!request.url().startsWith(`${origin}/`)) seen.elsewhere.push(request.url());
  });
  page.on("pageerror", (error) => seen.errors.push(String(error)));
  page.on("console", (message) => {
    // Chromium says so itself of every answer that is no success; those are looked at where they are expected.
    const refused = message.text().startsWith("Failed to load resource");
    if (["error", "warning"].includes(message.type()) && !refused) seen.errors.push(message.text());
  });
  await page.addInitScript(() => {
    globalThis.violations = [];
    document.addEventListener("securitypolicyviolation", (event) => globalThis.violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sample}`));
  });
  const check = async () => {
    assert.deepEqual(await page.evaluate(() => globalThis.violations), [], "the policy was violated");
    assert.deepEqual(seen.errors, []);
    assert.deepEqual(seen.elsewhere, [], "something of another origin was asked for");
  };
  return { context, page, seen, check };
}

/** No violation of any rule that axe knows. */
export async function accessible(page, where) {
  // Not as a script of the page's: the policy would refuse it.
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
  const said = violations.map(({ id, help, nodes }) => `${where}: ${id}: ${help}\n${nodes.map((node) => `  ${node.html}\n  ${node.failureSummary}`).join("\n")}`);
  assert.deepEqual(said, [], said.join("\n"));
}

/** Goes to a view by its address, and waits for its title. */
export async function go(page, route, title) {
  await page.evaluate((to) => { location.hash = to; }, `#/${route}`);
  await page.getByRole("heading", { level: 1, name: title }).waitFor();
}

/** A picture, where they are wanted. */
export async function picture(page, name) {
  const dir = process.env.REPOD_PICTURES;
  if (dir) await page.screenshot({ path: `${dir}/${name}.png`, fullPage: true });
}
