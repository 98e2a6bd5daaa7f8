// What a person does with the console, step by step. Each deed gets a window of its own, not logged in.
"use strict";

const assert = require("node:assert/strict");
const { odd } = require("./pages.js");

const queue = (name) => `/queue?${new URLSearchParams({ vhost: "/", name })}`;
const unfold = (page, summary) => page.locator("summary", { hasText: new RegExp(`^${summary}$`) }).click();
const said = (page) => page.locator("p.message").innerText();
/** The figure under that name. */
const figure = (page, name) => page.locator("#figures .figure", { has: page.getByText(name, { exact: true }) }).locator("dd");

module.exports = [
  ["a wrong password is told, the right one leads to where one wanted to go", async ({ page }) => {
    await page.goto(queue("orders"));
    assert.match(page.url(), /\/login\?next=/);
    await page.getByLabel("User").fill("guest");
    await page.getByLabel("Password").fill("wrong");
    await page.keyboard.press("Enter");
    await page.getByRole("alert").waitFor();
    assert.equal(await page.getByRole("alert").innerText(), "User or password is wrong.");
    await page.getByLabel("Password").fill("guest");
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { level: 1, name: "orders" }).waitFor();
  }],

  ["after the log-out the way back is closed", async ({ page, logIn }) => {
    await logIn();
    await page.getByRole("button", { name: /Log out/ }).click();
    await page.getByRole("heading", { name: "Log in" }).waitFor();
    await page.goto("/queues");
    assert.match(page.url(), /\/login/);
  }],

  ["a queue's life: declared, published to, purged, deleted", async ({ page, logIn }) => {
    await logIn();
    await page.goto("/queues");
    await unfold(page, "Declare a queue");
    const form = page.locator("form[action='/queues/declare']");
    await form.getByLabel("Name").fill("made here");
    await form.getByLabel("Arguments").fill("{\"x-max-length\": 10}");
    await form.getByRole("button", { name: "Declare" }).click();
    assert.equal(await said(page), "The queue made here is declared.");
    await page.goto("/exchange?vhost=%2F&name=");
    await unfold(page, "Write a message");
    await page.getByLabel("Routing key").fill("made here");
    await page.getByLabel("Body", { exact: true }).fill("hello");
    await page.getByRole("button", { name: "Publish" }).click();
    assert.equal(await said(page), "The message is published and in a queue.");
    await page.goto(queue("made here"));
    assert.match(await figure(page, "Ready").innerText(), /^1/);
    await unfold(page, "Purge");
    await page.getByRole("button", { name: "Purge the queue" }).click();
    assert.match(await figure(page, "Ready").innerText(), /^0/);
    await unfold(page, "Delete");
    await page.getByRole("button", { name: "Delete the queue" }).click();
    assert.equal(await said(page), "The queue made here is deleted.");
  }],

  ["what cannot be is told in the broker's words, and typed text is not obeyed", async ({ page, logIn }) => {
    await logIn();
    await page.goto("/queues");
    await unfold(page, "Declare a queue");
    const form = page.locator("form[action='/queues/declare']");
    await form.getByLabel("Name").fill(odd);
    await form.getByLabel("Durability").selectOption("");
    await form.getByRole("button", { name: "Declare" }).click();
    assert.match(await said(page), /inequivalent arg/);
  }],

  ["a binding is made and taken away", async ({ page, logIn }) => {
    await logIn();
    await page.goto(queue("orders"));
    await unfold(page, "Bind");
    const form = page.locator("form[action='/queue/bind']");
    await form.getByLabel("From exchange").fill("amq.direct");
    await form.getByLabel("Routing key").fill("key of the browser");
    await form.getByRole("button", { name: "Bind", exact: true }).click();
    const row = page.getByRole("row").filter({ hasText: "key of the browser" });
    await row.getByRole("button", { name: "Unbind" }).click();
    await page.locator("p.message").waitFor();
    assert.equal(await row.count(), 0);
  }],

  ["figures change while one looks", async ({ page, logIn }) => {
    await logIn();
    await page.goto(queue("live"));
    assert.match(await figure(page, "Ready").innerText(), /^0/);
    const made = await page.request.post("/api/exchanges/%2F/amq.default/publish", {
      headers: { authorization: `Basic ${btoa("guest:guest")}` },
      data: { properties: {}, routing_key: "live", payload: "x", payload_encoding: "string" },
    });
    assert.equal(made.status(), 200);
    await page.waitForFunction(() => document.querySelector("#figures dd").textContent.startsWith("1"), null, { timeout: 9000 });
  }],

  ["a session does not open the API", async ({ page, logIn }) => {
    await logIn();
    const answer = await page.request.get("/api/overview");
    assert.equal(answer.status(), 401);
  }],

  ["parked messages are looked at, weighed and redriven", async ({ page, logIn }) => {
    await logIn();
    await page.goto("/aside");
    await page.getByRole("row").filter({ hasText: "poisoned" }).getByRole("link", { name: "3" }).click();
    await page.locator(".messages summary").first().click();
    assert.match(await page.locator(".messages pre").first().innerText(), /poison/);
    await page.getByLabel("All there are").check();
    await page.getByRole("button", { name: "Redrive…" }).click();
    assert.match(await page.locator("main").innerText(), /3 messages .* would go back to their places in the queue/);
    await page.getByRole("link", { name: "Back, change nothing" }).click();
    await page.getByLabel(/Choose message/).first().check();
    await page.getByRole("button", { name: "Discard…" }).click();
    await page.getByRole("button", { name: "Discard", exact: true }).click();
    assert.match(await said(page), /1 message is discarded/);
    assert.equal(await page.locator(".messages > li").count(), 2);
  }],

  ["messages are looked for where they are, moved and gotten", async ({ page, logIn }) => {
    await logIn();
    await page.goto(queue("source"));
    await page.getByRole("link", { name: "Look at the messages" }).click();
    assert.equal(await page.locator(".messages > li").count(), 4);
    await page.getByLabel("Text in the body").fill("two");
    await page.getByRole("button", { name: "Search" }).click();
    await page.waitForURL(/text=two/);
    assert.equal(await page.locator(".messages > li").count(), 1);
    await page.getByLabel(/Choose message/).check();
    await page.getByLabel("To the queue").fill("target");
    await page.getByRole("button", { name: "Move…" }).click();
    assert.match(await page.locator("main").innerText(), /1 message .* would move to the other queue/);
    await page.getByRole("button", { name: "Move", exact: true }).click();
    assert.match(await said(page), /1 message is gone from here/);
    await page.goto(queue("target"));
    await unfold(page, "Get messages");
    await page.getByLabel("Afterwards they are").selectOption("ack_requeue_false");
    await page.getByRole("button", { name: "Get", exact: true }).click();
    await page.locator(".messages summary").click();
    assert.equal(await page.locator(".messages pre").innerText(), "number two");
  }],
  ["who holds a message is shown, and it is released to another consumer", async ({ page, logIn }) => {
    await logIn();
    await page.goto(queue("held"));
    assert.match(await page.locator("table", { hasText: "basic.get" }).innerText(), /basic\.get\s+1/);
    await page.getByRole("link", { name: "Look at what they hold" }).click();
    await page.getByRole("button", { name: /^Release message/ }).click();
    assert.match(await page.locator("main").innerText(), /has been with channel \d+ of .* for/);
    await page.getByRole("button", { name: "Release", exact: true }).click();
    assert.match(await said(page), /was released and is with consumer keeper on channel \d+ of/);
    await page.goto(queue("held"));
    assert.equal(await page.locator("table", { hasText: "basic.get" }).count(), 0);
    assert.match(await page.locator("tr", { hasText: "keeper" }).innerText(), /yes/);
  }],

  ["a user comes, may enter, and goes", async ({ page, logIn }) => {
    await logIn();
    await page.goto("/users");
    await unfold(page, "Add a user");
    await page.getByLabel("Name", { exact: true }).fill("newcomer");
    await page.getByLabel("Password").fill("secret of a newcomer");
    await page.getByLabel("Tags").fill("management");
    await page.getByRole("button", { name: "Add" }).click();
    assert.equal(await said(page), "The user newcomer is set.");
    await unfold(page, "Set permissions");
    await page.locator("form[action='/user/permit'] button").click();
    assert.match(await said(page), /Permissions of newcomer in \/ are set/);
    await unfold(page, "Delete");
    await page.getByRole("button", { name: "Delete the user" }).click();
    assert.equal(await said(page), "The user newcomer is deleted.");
  }],

  ["a policy is set, governs, and is cleared", async ({ page, logIn }) => {
    await logIn();
    await page.goto("/policies");
    await unfold(page, "Set a policy");
    const form = page.locator("form[action='/policies/set']").first();
    await form.getByLabel("Name", { exact: true }).fill("short");
    await form.getByLabel("Pattern").fill("^bulk-00");
    await form.getByLabel("Definition").fill("{\"max-length\": 7}");
    await form.getByRole("button", { name: "Set" }).click();
    assert.equal(await said(page), "The policy short is set.");
    await page.goto(queue("bulk-001"));
    assert.match(await page.locator("main").innerText(), /max-length = 7/);
    await page.goto("/policies");
    await page.getByRole("row").filter({ hasText: "short" }).getByRole("button", { name: "Clear" }).click();
    assert.equal(await said(page), "The policy short is cleared.");
  }],

  ["a connection is closed with a reason", async ({ page, logIn }) => {
    await logIn();
    await page.goto("/connections");
    await page.locator("tr", { hasText: "victim" }).locator("a.name").click();
    await unfold(page, "Close");
    await page.getByLabel("Reason").fill("seen enough");
    await page.getByRole("button", { name: "Close the connection" }).click();
    assert.match(await said(page), /is closed/);
    await page.goto("/connections");
    assert.equal(await page.locator("tr", { hasText: "victim" }).count(), 0);
  }],

  ["light and dark can be chosen, and the choice stays", async ({ page, logIn }) => {
    await logIn();
    const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    const before = await ground();
    await page.getByRole("button", { name: "Light", exact: true }).click();
    await page.getByRole("button", { name: "Dark", exact: true }).click();
    await page.getByRole("button", { name: "Auto", exact: true }).waitFor();
    assert.notEqual(await ground(), before);
    await page.goto("/queues");
    assert.equal(await page.locator("html").getAttribute("data-theme"), "dark");
  }],

  ["it can be worked with from the keyboard", async ({ page, logIn }) => {
    await logIn();
    await page.goto("/queues");
    await page.keyboard.press("Tab");
    assert.equal(await page.evaluate(() => document.activeElement.textContent), "Skip to the content");
    await page.keyboard.press("Enter");
    await page.keyboard.press("Tab");
    assert.equal(await page.evaluate(() => document.activeElement.name), "name");
    await page.keyboard.type("poison");
    await page.keyboard.press("Enter");
    await page.waitForURL(/name=poison/);
    assert.equal(await page.locator("tbody tr").count(), 1);
  }],

  ["it works without JavaScript", async ({ page, logIn }) => {
    await logIn();
    await page.goto("/queues?name=bulk");
    await page.getByRole("link", { name: "Next" }).click();
    assert.match(await page.locator(".pager").innerText(), /Page 2 of 3/);
    await page.goto(queue("orders"));
    await unfold(page, "Purge");
    assert.ok(await page.getByRole("button", { name: "Purge the queue" }).isVisible());
  }, { javaScriptEnabled: false }],

  ["who may see little sees little", async ({ page, logIn }) => {
    await logIn("reader", "reader");
    assert.equal(await page.getByRole("link", { name: "Users" }).count(), 0);
    await page.goto("/users");
    assert.match(await page.locator("main").innerText(), /Not administrator user|Not for this user/);
    await page.goto("/");
    assert.equal(await page.getByRole("heading", { name: "Node" }).count(), 0);
  }],
];
