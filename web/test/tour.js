// Looks at a real daemon's dashboard: node tour.js EXPECTED, where that is JSON of what must be seen.
// Says "open the gate" when it has seen a transcript's first half, and waits for the second.

import assert from "node:assert/strict";
import { accessible, go, launch, open, picture } from "./browser.js";

const expected = JSON.parse(process.argv[2]);
const origin = new URL(expected.url).origin;
const browser = await launch();
try {
  const { context, page, seen, check } = await open(browser, origin);
  await page.goto(expected.url);
  await page.getByRole("heading", { level: 1, name: "Repositories" }).waitFor();
  assert.ok(!page.url().includes("login"), "the link's secret is out of the address");
  assert.ok(seen.requests.every((url) => !url.includes("login=")), "and was never sent in one");
  if (expected.repos.length) await full(page); else await empty(page);
  await inBothSchemes(page);
  await check();
  await refused(expected.url);
  await page.getByRole("button", { name: "Log out" }).click();
  await page.getByRole("heading", { name: "Logged out" }).waitFor();
  await page.reload();
  await page.getByRole("heading", { name: "Not logged in" }).waitFor();
  await context.close();
} finally {
  await browser.close();
}

async function empty(page) {
  await page.getByText("No repository is known yet").waitFor();
  await go(page, "memory", "Memory");
  await page.getByText("No repository is known yet").waitFor();
  await go(page, "sessions", "Sessions");
  await page.getByText("There is no agent session").waitFor();
  await go(page, "leases", "Leases");
  await page.getByText("Nobody writes at the moment").waitFor();
  await go(page, "mutations", "Mutations");
  await page.getByText("Nothing has crossed repositories yet").waitFor();
}

async function full(page) {
  const { repos, awake, session, waiting, mutation, finding, secrets, stop } = expected;
  const rows = page.locator("tbody tr");
  await rows.nth(repos.length - 1).waitFor();
  assert.equal(await rows.count(), repos.length);
  assert.equal(await rows.filter({ hasText: "ready" }).count(), awake);
  assert.equal(await rows.filter({ hasText: "hibernated" }).count(), repos.length - awake);
  await picture(page, "real-repos");

  await go(page, "memory", "Memory");
  await page.locator(".plot canvas").nth(awake - 1).waitFor();
  const said = await page.getByRole("img", { name: new RegExp(`of ${repos[0]}: now \\d`) }).getAttribute("aria-label");
  assert.match(said, /at most [\d.]+ MiB/);
  await picture(page, "real-memory");

  await go(page, "leases", "Leases");
  await page.getByLabel(`${waiting.title} waits for ${waiting.owner} on ${repos[0]} ${waiting.branch}`).waitFor();
  await page.getByRole("listitem").filter({ hasText: waiting.title }).first().waitFor();
  await picture(page, "real-leases");

  await go(page, "mutations", "Mutations");
  const name = (id) => id.slice(0, id.lastIndexOf("-"));
  await page.getByRole("button", { name: `${name(mutation.from)} wrote in ${name(mutation.to)}: 1 write, all applied` }).click();
  await page.locator("tbody tr").filter({ hasText: mutation.file }).filter({ hasText: "applied" }).waitFor();
  await picture(page, "real-mutations");

  await go(page, "sessions", "Sessions");
  await page.getByRole("link", { name: session.title }).click();
  await page.getByRole("heading", { level: 1, name: session.title }).waitFor();
  const transcript = page.getByRole("log").first();
  await transcript.getByText(session.before).first().waitFor();
  await transcript.getByText("echo " + session.tool).first().waitFor();
  // Nothing but what was asked says it yet.
  await transcript.locator(".asked").getByText(session.after).waitFor();
  const answer = transcript.locator(".said:not(.asked)");
  assert.equal(await answer.filter({ hasText: session.after }).count(), 0);
  await picture(page, "real-transcript");
  console.log("open the gate");
  await answer.filter({ hasText: session.after }).waitFor();
  await page.locator(".turn").first().getByText("completed").first().waitFor();

  await go(page, "audit", "Audit");
  await page.locator(".rule").filter({ hasText: finding }).first().waitFor();
  await page.locator(".rule .fix").first().waitFor();
  await picture(page, "real-audit");

  // By keyboard alone, with a question before it is done.
  await go(page, `repos/${stop}`, stop);
  await page.getByRole("button", { name: "Stop", exact: true }).focus();
  await page.keyboard.press("Enter");
  const dialog = page.getByRole("dialog");
  await dialog.waitFor();
  await page.keyboard.press("Escape");
  await dialog.waitFor({ state: "hidden" });
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "Stop", "where the reader was");
  await page.keyboard.press("Enter");
  await dialog.getByRole("button", { name: "Stop" }).focus();
  await page.keyboard.press("Enter");
  await page.locator("main > .line .state, main p.line .state").filter({ hasText: "stopped" }).first().waitFor();

  const shown = [];
  for (const route of ["repos", "memory", "sessions", "leases", "mutations", "audit", ...repos.slice(0, 3).map((id) => `repos/${id}`)]) {
    await page.evaluate((to) => { location.hash = `#/${to}`; }, route);
    await page.waitForFunction(() => !document.querySelector("main")?.textContent.includes("Looking …"));
    shown.push(await page.content());
  }
  for (const secret of secrets) assert.ok(!shown.join("").includes(secret), "a secret is shown");
}

/** Every view, in light and in dark. */
async function inBothSchemes(page) {
  const views = ["repos", "memory", "sessions", "leases", "mutations", "audit"];
  if (expected.session) views.push(`sessions/${expected.session.repo}/${expected.session.id}`, `repos/${expected.repos[0]}`);
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    for (const view of views) {
      await page.evaluate((to) => { location.hash = `#/${to}`; }, view);
      await page.waitForFunction((to) => location.hash === `#/${to}` && document.querySelector("h1") && !document.body.textContent.includes("Looking "), view);
      await accessible(page, `${view}, ${colorScheme}`);
    }
  }
}

/** A link that was used, and one that never was good. */
async function refused(used) {
  for (const url of [used, `${origin}/#login=${"0".repeat(64)}`]) {
    const { context, page, check } = await open(browser, origin);
    await page.goto(url);
    await page.getByRole("heading", { name: "This link doesn't let you in" }).waitFor();
    await page.getByText("repod web").waitFor();
    await accessible(page, "a link that is refused");
    await check();
    await context.close();
  }
}
