// Every page of the console, with the broker's state as compat/tests/console.rs made it.
"use strict";

const query = (page, fields) => `${page}?${new URLSearchParams(fields)}`;
const odd = "<script>alert(1)</script> \"&'/..";

module.exports = [
  ["overview", "/"],
  ["queues", "/queues"],
  ["queues, filtered and sorted", query("/queues", { name: "bulk", sort: "messages_ready", reverse: "true", page: "2" })],
  ["queue", query("/queue", { vhost: "/", name: "orders" })],
  ["queue of an odd name", query("/queue", { vhost: "/", name: odd })],
  ["messages", query("/messages", { vhost: "/", name: "orders" })],
  ["messages, searched", query("/messages", { vhost: "/", name: "orders", state: "unsettled", text: "order" })],
  ["exchanges", "/exchanges"],
  ["exchange", query("/exchange", { vhost: "/", name: "amq.topic" })],
  ["default exchange", query("/exchange", { vhost: "/", name: "" })],
  ["connections", "/connections"],
  ["connection", async (page) => page.locator("a.name").first().getAttribute("href"), "/connections"],
  ["channels", "/channels"],
  ["loss risks", "/risks"],
  ["set aside", "/aside"],
  ["parked", query("/parked", { vhost: "/", name: "poisoned" })],
  ["retained", query("/retained", { vhost: "/", name: "orders" })],
  ["unroutable", query("/unroutable", { vhost: "/" })],
  ["health", "/health"],
  ["policies", "/policies"],
  ["virtual hosts", "/vhosts"],
  ["virtual host", query("/vhost", { name: "/" })],
  ["users", "/users"],
  ["user", query("/user", { name: "guest" })],
  ["definitions", "/definitions"],
  ["nothing", "/nothing", null, 404],
];
module.exports.odd = odd;
