// Somebody looks on while the order story is played, and kills a warehouse.
"use strict";

const assert = require("node:assert/strict");
const path = require("node:path");

module.exports = async function story({ page, wrong, checks, shots }) {
  await page.goto("/");
  const warehouses = page.locator("#stage form", { has: page.locator("input[value=warehouse]") });
  await warehouses.first().waitFor({ timeout: 30000 });
  wrong.push(...(await page.evaluate(checks)));
  // The demo kills by its own plan too: whoever is at work when the button is pressed.
  await warehouses.nth(2).getByRole("button").click();
  await page.locator("#events", { hasText: /is killed with|nobody was killed/ }).waitFor();
  await page.screenshot({ path: path.join(shots, "order-story.png"), fullPage: true });
  await page.setViewportSize({ width: 360, height: 740 });
  wrong.push(...(await page.evaluate(checks)).map((what) => `phone: ${what}`));
  await page.screenshot({ path: path.join(shots, "order-story-phone.png"), fullPage: true });
  await page.locator("#verdict tbody tr").nth(1).waitFor({ timeout: 90000 });
  const [manual, auto] = await page.locator("#verdict tbody tr").allInnerTexts();
  const cells = (row) => row.split("\t").map((cell) => cell.replace(",", ""));
  assert.deepEqual(cells(manual).slice(0, 5), ["manual ack", "250", "250", "0", "0"]);
  assert.ok(Number(cells(auto)[3]) > 0, auto);
  await page.screenshot({ path: path.join(shots, "order-story-verdict.png"), fullPage: true });
};
