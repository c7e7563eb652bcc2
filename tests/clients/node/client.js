// SPDX-FileCopyrightText: The muster authors
// SPDX-License-Identifier: Apache-2.0
//
// Drives a registry with the Node package consul: PORT CHECK_URL. Every request
// has a connection of its own, which the client asks to be closed, and header
// names in lower case, as this client has always written them.
"use strict";

const assert = require("assert");
const http = require("http");
const Consul = require("consul");

const [port, url] = process.argv.slice(2);
const LIMIT_MS = 30000;
let connections = 0;

class OneShot extends http.Agent {
  createConnection(...args) {
    connections++;
    return super.createConnection(...args);
  }
}

const consul = new Consul({
  host: "127.0.0.1",
  port,
  agent: new OneShot({ keepAlive: false }),
  defaults: { token: "anything" }, // travels as x-consul-token
});

async function within(what, condition) {
  const deadline = Date.now() + LIMIT_MS;
  for (;;) {
    const value = await condition();
    if (value) {
      console.log("ok:", what);
      return value;
    }
    assert(Date.now() < deadline, `${what}: did not happen`);
    await new Promise((r) => setTimeout(r, 20));
  }
}

// The answers of a watch, each of which can be awaited.
class Answers {
  constructor(options) {
    this.seen = [];
    this.watch = consul.watch(options);
    this.watch.on("change", (data) => this.seen.push(data));
    this.watch.on("error", (e) => {
      this.error = e;
    });
  }

  async until(what, condition) {
    await within(what, () => {
      if (this.error) throw this.error;
      return this.seen.some(condition);
    });
  }
}

async function refused(status, promise) {
  const error = await promise.then(
    () => null,
    (e) => e,
  );
  assert(error, "was not refused");
  assert.strictEqual(error.statusCode, status, error.message);
}

async function main() {
  assert(await consul.status.leader(), "no leader");
  const self = await consul.agent.self();
  assert(self.Config.NodeName);

  const all = new Answers({ method: consul.health.service, options: { service: "njs" } });
  await all.until("a watch on nothing answers", (list) => list.length === 0);

  const check = { http: url, interval: "1s", timeout: "1s" };
  await consul.agent.service.register({
    name: "njs",
    id: "njs-1",
    address: "127.0.0.1",
    port: 99,
    tags: ["a", "b"],
    meta: { colour: "red" },
    check,
  });
  await all.until("the watch sees njs-1", (list) => list.length === 1);
  await all.until("the watch sees it pass", (list) =>
    list.some((e) => e.Checks.every((c) => c.Status === "passing") && e.Service.Port === 99),
  );

  const own = (await consul.agent.services())["njs-1"];
  assert.deepStrictEqual([own.Service, own.Tags, own.Meta], ["njs", ["a", "b"], { colour: "red" }]);
  assert.deepStrictEqual((await consul.catalog.service.list()).njs, ["a", "b"]);
  const [entry] = await consul.catalog.service.nodes({ service: "njs", tag: "a" });
  assert.strictEqual(entry.ServiceID, "njs-1");
  assert.deepStrictEqual(await consul.catalog.service.nodes({ service: "njs", tag: "c" }), []);
  const nodes = await consul.catalog.node.list();
  assert(nodes.some((n) => n.Node === self.Config.NodeName));
  const checks = await consul.health.checks("njs");
  assert.deepStrictEqual(
    checks.map((c) => [c.CheckID, c.Status]),
    [["service:njs-1", "passing"]],
  );

  await consul.agent.service.register({ name: "njs", id: "njs-2", check: { ttl: "30s" } });
  await all.until("the watch sees njs-2", (list) => list.length === 2);
  const passing = () => consul.health.service({ service: "njs", passing: true });
  await consul.agent.check.pass({ id: "service:njs-2", note: "fine" });
  assert.strictEqual((await passing()).length, 2);
  await consul.agent.check.warn("service:njs-2");
  await consul.agent.check.fail({ id: "service:njs-2", note: "broken" });
  assert.strictEqual((await passing()).length, 1);
  const [ttl] = (await consul.health.state("critical")).filter((c) => c.ServiceID === "njs-2");
  assert.strictEqual(ttl.Output, "broken");

  await consul.agent.service.maintenance({ id: "njs-1", enable: true, reason: "a new disk" });
  assert.deepStrictEqual(await passing(), []);
  const maintenance = (await consul.agent.checks())["_service_maintenance:njs-1"];
  assert.strictEqual(maintenance.Notes, "a new disk");
  await consul.agent.service.maintenance({ id: "njs-1", enable: false });
  assert.strictEqual((await passing()).length, 1);
  await consul.agent.maintenance({ enable: true, reason: "a new node" });
  assert.deepStrictEqual(await passing(), []);
  await consul.agent.maintenance(false);
  assert.strictEqual((await passing()).length, 1);

  const only = { service: "njs", filter: 'Service.ID == "njs-2"' };
  assert.deepStrictEqual((await consul.health.service(only)).map((e) => e.Service.ID), ["njs-2"]);

  const fired = await consul.event.fire({ name: "njs-deploy", payload: "v2" });
  const heard = (await consul.event.list("njs-deploy")).at(-1);
  assert.strictEqual(heard.ID, fired.ID);
  assert.strictEqual(heard.Payload, "v2");

  await consul.catalog.register({
    node: "elsewhere",
    address: "10.9.9.9",
    service: { service: "ext", id: "e1", port: 1 },
  });
  assert.strictEqual((await consul.catalog.node.services("elsewhere")).Services.e1.Port, 1);
  await consul.catalog.deregister("elsewhere");

  await refused(400, consul.agent.service.register({ name: "njs", id: "n3", check: { ttl: "soon" } }));
  await refused(400, consul.agent.service.register({ name: "njs", id: "n3", check: { http: url, interval: "-1s" } }));
  await refused(500, consul.health.service({ service: "njs", dc: "nowhere" }));
  await refused(404, consul.agent.service.maintenance({ id: "nobody", enable: true }));
  await refused(404, consul.agent.check.pass("nobody"));

  for (const id of ["njs-1", "njs-2"]) await consul.agent.service.deregister(id);
  await all.until("the watch sees them go", () => all.seen.at(-1).length === 0);
  all.watch.end();
  assert(connections > 30, `${connections} connections: were they kept open?`);
  console.log("all steps passed");
}

main().then(
  () => process.exit(0),
  (e) => {
    console.error(e);
    process.exit(1);
  },
);
