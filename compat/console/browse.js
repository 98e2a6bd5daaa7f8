// The console in a real browser. `--list` prints the cases; `--url URL --shots FOLDER` runs them against a broker that
// compat/tests/console.rs has filled, and prints one line of JSON a case.
"use strict";

const fs = require("node:fs");
const path = require("node:path");
const { chromium } = require("playwright-core");
const checks = require("./checks.js");
const pages = require("./pages.js");
const deeds = require("./deeds.js");
const story = require("./story.js");

// A phone and a wide screen, both by day and by night.
const LOOKS = [
  { name: "wide-light", viewport: { width: 1440, height: 900 }, colorScheme: "light" },
  { name: "wide-dark", viewport: { width: 1440, height: 900 }, colorScheme: "dark" },
  { name: "phone-light", viewport: { width: 360, height: 740 }, colorScheme: "light", hasTouch: true },
  { name: "phone-dark", viewport: { width: 360, height: 740 }, colorScheme: "dark", hasTouch: true },
];

const argument = (name) => process.argv[process.argv.indexOf(name) + 1];

function names() {
  return [...pages.map(([name]) => `page: ${name}`), ...deeds.map(([name]) => name)];
}

/** A browser's window on the console, which collects what goes wrong in it. */
async function open(browser, base, settings) {
  const context = await browser.newContext({ baseURL: base, ...settings });
  const wrong = [];
  context.setDefaultTimeout(15000);
  const page = await context.newPage();
  page.on("pageerror", (error) => wrong.push(`script: ${error.message}`));
  page.on("console", (message) => {
    // The browser's own word on an answer that is no 200 is no fault of the page.
    const status = message.text().startsWith("Failed to load resource");
    if (["error", "warning"].includes(message.type()) && !status) wrong.push(`${message.type()}: ${message.text()}`);
  });
  page.on("dialog", (dialog) => { wrong.push(`a script of somebody else ran: ${dialog.message()}`); dialog.dismiss(); });
  page.on("request", (request) => { if (!request.url().startsWith(base)) wrong.push(`asks elsewhere: ${request.url()}`); });
  return { context, page, wrong };
}

async function logIn(page, user = "guest", password = "guest") {
  await page.goto("/login");
  await page.getByLabel("User").fill(user);
  await page.getByLabel("Password").fill(password);
  await page.getByRole("button", { name: "Log in" }).click();
  await page.waitForURL((url) => url.pathname !== "/login");
}

async function look(window, shots, [name, target, before, status = 200], settings) {
  const { page, wrong } = window;
  wrong.length = 0;
  if (before) await page.goto(before);
  const address = typeof target === "string" ? target : await target(page);
  const answer = await page.goto(address);
  if (answer.status() !== status) wrong.push(`answered with ${answer.status()}`);
  wrong.push(...(await page.evaluate(checks)));
  // Folded forms are part of the page.
  await page.evaluate(() => document.querySelectorAll("details").forEach((fold) => { fold.open = true; }));
  wrong.push(...(await page.evaluate(checks)).map((what) => `unfolded: ${what}`));
  await page.evaluate(() => document.querySelectorAll("details").forEach((fold) => { fold.open = false; }));
  const file = path.join(shots, `${name.replace(/[^a-z]+/g, "-")}-${settings.name}.png`);
  await page.screenshot({ path: file, fullPage: true });
  return wrong.map((what) => `${settings.name}: ${what}`);
}

function tell(name, wrong) {
  console.log(JSON.stringify({ case: name, ok: wrong.length === 0, why: [...new Set(wrong)].join("\n") }));
}

async function lookAtPages(browser, base, shots) {
  const found = new Map(pages.map(([name]) => [name, []]));
  const through = async (settings) => {
    const window = await open(browser, base, settings);
    await logIn(window.page);
    for (const entry of pages) {
      const wrong = await look(window, shots, entry, settings).catch((error) => [`${settings.name}: ${error.message}`]);
      found.get(entry[0]).push(...wrong);
    }
    await window.context.close();
  };
  await Promise.all(LOOKS.map(through));
  for (const [name, wrong] of found) tell(`page: ${name}`, wrong);
}

async function doDeed(browser, base, [name, deed, settings]) {
  const window = await open(browser, base, { viewport: { width: 1024, height: 800 }, ...settings });
  const tools = { ...window, base, logIn: (...who) => logIn(window.page, ...who) };
  const wrong = await deed(tools).then(() => window.wrong, (error) => [...window.wrong, error.stack]);
  tell(name, wrong);
  await window.context.close();
}

/** A few at the same time: they keep out of each other's queues. */
async function doDeeds(browser, base) {
  const waiting = [...deeds];
  const one = async () => { while (waiting.length > 0) await doDeed(browser, base, waiting.shift()); };
  await Promise.all([one(), one(), one()]);
}

async function main() {
  if (process.argv.includes("--list")) {
    names().forEach((name) => console.log(name));
    return;
  }
  const shots = argument("--shots");
  const isStory = process.argv.includes("--story");
  const base = argument(isStory ? "--story" : "--url");
  fs.mkdirSync(shots, { recursive: true });
  const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox"] });
  try {
    if (isStory) {
      const window = await open(browser, base, LOOKS[0]);
      const wrong = await story({ ...window, checks, shots }).then(() => window.wrong, (error) => [...window.wrong, error.stack]);
      tell("story", wrong);
    } else {
      await lookAtPages(browser, base, shots);
      await doDeeds(browser, base);
    }
  } finally {
    await browser.close();
  }
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
