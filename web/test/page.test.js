// The page in a real browser, on answers made up for it: every state there is, and none.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { accessible, go, launch, open, picture } from "./browser.js";
import { fake } from "./fake.js";
import { IDS, none, twelve } from "./scenes.js";

let browser;
before(async () => { browser = await launch(); });
after(() => browser?.close());

async function visit(t, answers, options) {
  const site = await fake(answers);
  t.after(site.close);
  const opened = await open(browser, site.origin, options);
  t.after(() => opened.context.close());
  await opened.page.goto(site.url);
  await opened.page.getByRole("heading", { level: 1, name: "Repositories" }).waitFor();
  return { site, ...opened };
}

const VIEWS = [["repos", "Repositories"], ["memory", "Memory"], ["sessions", "Sessions"], ["leases", "Leases"], ["mutations", "Mutations"], ["audit", "Audit"]];
const SINGLE = [[`sessions/${IDS[0]}/review`, "Keep the query in the router"], [`repos/${IDS[0]}`, IDS[0]], [`repos/${IDS[9]}`, IDS[9]]];
/** What is there once a view has its answers. */
const SETTLED = { memory: ".plot canvas", mutations: ".drawing, .empty", audit: ".totals", sessions: "table, .empty" };

for (const [name, scene, views] of [["twelve repos", twelve, [...VIEWS, ...SINGLE]], ["none", none, VIEWS]]) {
  for (const dark of [false, true]) {
    test(`${name}, ${dark ? "dark" : "light"}: every view is there for everybody`, async (t) => {
      const { page, check } = await visit(t, scene(), { dark });
      for (const [route, title] of views) {
        await go(page, route, title);
        const settled = name === "none" && route === "memory" ? ".empty" : SETTLED[route];
        if (settled) await page.locator(settled).first().waitFor();
        // A plot is a picture: its line has a colour, and everything else in it is grey.
        for (const plot of await page.locator(".plot canvas").all()) {
          const coloured = await plot.evaluate((canvas) => {
            const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
            let pixels = 0;
            for (let at = 0; at < data.length; at += 4) {
              const [red, green, blue, alpha] = data.subarray(at, at + 4);
              if (alpha > 100 && Math.max(red, green, blue) - Math.min(red, green, blue) > 50) pixels += 1;
            }
            return pixels;
          });
          assert.ok(coloured > 200, `${route}: the line of a plot has ${coloured} pixels`);
        }
        if (route === "sessions" && name !== "none") {
          await page.getByRole("row", { name: /Tidy the stylesheet.*wants to be allowed bash npm run lint -- --fix/ }).waitFor();
          await page.getByRole("row", { name: /Find unused rules \(subagent\).*runs grep \S+hidden and 2 more/ }).waitFor();
          assert.equal(await page.getByText("ses_review").count(), 0);
        }
        if (route.startsWith("sessions/")) {
          await page.getByText("With it kept, the test passes.").waitFor();
          await page.getByRole("log").getByText("Keep the query when a link is followed").waitFor();
          await page.locator("summary").getByText("Look at the last commit.").waitFor();
        }
        await accessible(page, `${route}, ${dark ? "dark" : "light"}`);
        await picture(page, `${name.replaceAll(" ", "-")}-${route.split("/").slice(0, 2).join("-")}${dark ? "-dark" : ""}`);
      }
      await check();
    });
  }
}

test("a narrow screen needs no scrolling to the side", async (t) => {
  const { page, check } = await visit(t, twelve(), { viewport: { width: 380, height: 760 } });
  for (const [route, title] of [...VIEWS, ...SINGLE]) {
    await go(page, route, title);
    if (SETTLED[route]) await page.locator(SETTLED[route]).first().waitFor();
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${route} is too wide`);
  }
  await accessible(page, "narrow");
  await picture(page, "narrow");
  await check();
});

test("it can be used by keyboard alone", async (t) => {
  const { site, page, check } = await visit(t, twelve());
  const focused = () => page.evaluate(() => document.activeElement.getAttribute("aria-label") ?? document.activeElement.textContent);
  await page.keyboard.press("Tab");
  assert.equal(await focused(), "Skip to the content");
  await page.keyboard.press("Enter");
  assert.equal(await page.evaluate(() => document.activeElement.id), "main");
  // Every link and button can be reached, and shows where one is.
  await page.reload();
  await page.getByRole("heading", { level: 1, name: "Repositories" }).waitFor();
  const reached = new Set();
  for (let steps = 0; steps < 60; steps += 1) {
    await page.keyboard.press("Tab");
    reached.add(await focused());
    const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
    assert.notEqual(outline, "none", await focused());
    if ((await focused()).startsWith("a-repository-with")) break;
  }
  for (const name of ["Memory", "Mutations", "Log out", IDS[0], IDS[11]]) assert.ok([...reached].some((text) => text.includes(name)), `${name}: ${[...reached]}`);
  await go(page, "mutations", "Mutations");
  const edge = page.getByRole("button", { name: "infra wrote in billing: 1 write, the worst conflict" });
  await edge.focus();
  await page.keyboard.press("Enter");
  await page.getByText("Only infra → billing").waitFor();
  assert.equal(await page.locator("tbody tr").count(), 1);
  assert.equal(await edge.getAttribute("aria-pressed"), "true");
  await page.keyboard.press(" ");
  await page.getByText("Choose an arrow").waitFor();
  // A question first; Escape leaves everything as it is.
  await go(page, `repos/${IDS[0]}`, IDS[0]);
  await page.getByRole("button", { name: "Restart" }).focus();
  await page.keyboard.press("Enter");
  await page.getByRole("dialog", { name: `Restart the backend of ${IDS[0]}?` }).waitFor();
  await accessible(page, "a question");
  await page.keyboard.press("Escape");
  assert.ok(!site.asked.some(({ method, path }) => method === "POST" && path === "/v1/restart"));
  await page.keyboard.press("Enter");
  await page.getByRole("dialog").getByRole("button", { name: "Restart" }).press("Enter");
  await page.getByRole("status").getByText(`${IDS[0]}: started`).waitFor();
  assert.equal(site.asked.find(({ path }) => path === "/v1/restart").body, JSON.stringify({ target: { id: IDS[0] } }));
  await check();
});

test("what is refused is said where it was asked for", async (t) => {
  const { page, check } = await visit(t, twelve());
  await go(page, `repos/${IDS[0]}`, IDS[0]);
  await page.getByRole("button", { name: "Hibernate" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Hibernate" }).click();
  await page.getByRole("dialog").getByText("2 turns are in flight").waitFor();
  await accessible(page, "a refusal");
  await go(page, `sessions/${IDS[0]}/unheard-of`, "unheard-of");
  await page.getByText("there is no session").waitFor();
  await go(page, "leases", "Leases");
  await page.locator(".lease").first().getByRole("button", { name: "Take away" }).click();
  await page.getByRole("dialog").last().getByRole("button", { name: "Take away" }).click();
  await page.getByRole("status").getByText("was taken away").waitFor();
  await check();
});

test("a daemon that is gone is said to be, and what was seen stays", async (t) => {
  const answers = twelve();
  const { site, page } = await visit(t, answers);
  answers["GET /v1/ps"] = { status: 500, error: { code: "internal", message: "it is on fire", hint: "call `somebody`" } };
  await page.getByRole("alert").getByText("it is on fire").waitFor();
  await site.close();
  await page.getByRole("alert").getByText("The daemon doesn't answer").waitFor();
  assert.equal(await page.locator("tbody tr").count(), 12);
});

test("nobody is let in by a wrong link, or when the login has ended", async (t) => {
  const answers = none();
  const { site, page, check } = await visit(t, answers);
  await page.evaluate(() => { location.hash = "#login=bad0"; });
  await page.getByRole("heading", { name: "This link doesn't let you in" }).waitFor();
  await accessible(page, "refused");
  await picture(page, "refused");
  await page.evaluate(() => { location.hash = "#login=ab12"; });
  await page.getByRole("heading", { name: "Repositories" }).waitFor();
  answers["GET /v1/ps"] = { status: 401, error: { code: "unauthorized", message: "no" } };
  await page.getByRole("heading", { name: "You were logged out" }).waitFor();
  await page.reload();
  await page.getByRole("heading", { name: "Not logged in" }).waitFor();
  assert.ok(!site.asked.some(({ path }) => path.includes("login=")));
  await check();
});

test("nothing is asked for while nobody looks", async (t) => {
  const { site, page } = await visit(t, none());
  await page.evaluate(() => {
    Object.defineProperty(document, "hidden", { configurable: true, get: () => globalThis.away });
    globalThis.away = true;
    document.dispatchEvent(new Event("visibilitychange"));
  });
  await page.waitForTimeout(1000);
  const asked = site.asked.length;
  await page.waitForTimeout(5000);
  assert.equal(site.asked.length, asked);
  await page.evaluate(() => { globalThis.away = false; document.dispatchEvent(new Event("visibilitychange")); });
  await page.waitForFunction(() => performance.getEntriesByType("resource").length > 0);
  while (site.asked.length === asked) await page.waitForTimeout(50);
});
