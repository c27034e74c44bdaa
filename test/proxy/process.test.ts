import assert from "node:assert/strict";
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { open, send } from "../support/http.js";
import { TestMember } from "../support/member.js";
import { until } from "../support/until.js";
import { destroyProxied, makeProxied } from "./proxied.js";

test("members are killed one by one, and the client never needs another address", async () => {
  const flags = ["--proxy-refresh-interval", "200", "--proxy-failure-wait", "100"];
  const proxied = await makeProxied(3, flags);
  const { members, proxy } = proxied;
  try {
    assert.match(proxy.log, /httpproxy: endpoints found \[/);
    const config = await send(proxy.port, "GET", "/v2/config/local/proxy");
    const { endpoints } = JSON.parse(config.body.toString()) as { endpoints: string[] };
    assert.deepEqual([...endpoints].sort(), members.map(({ clientUrl }) => clientUrl).sort());
    for (const [n, member] of members.entries()) {
      await member.end("SIGKILL");
      for (let i = 0; i < 20; i++) {
        const value = `${n}-${i}`;
        const put = await send(proxy.port, "PUT", "/v2/keys/k", `value=${value}`);
        assert.ok(put.status === 200 || put.status === 201, put.body.toString());
        const get = await send(proxy.port, "GET", "/v2/keys/k?quorum=true");
        assert.ok(get.body.toString().includes(`"value":"${value}"`), get.body.toString());
      }
      await member.start();
    }
    const watch = await open(proxy.port, { method: "GET", path: "/v2/keys/k?wait=true" });
    await send(proxy.port, "PUT", "/v2/keys/k", "value=seen");
    await watch.ended;
    assert.match(watch.body.toString(), /"value":"seen"/);
  } finally {
    await destroyProxied(proxied);
  }
});

test("hundreds of watches wait behind a proxy, and each sees the write", async () => {
  const proxied = await makeProxied(1);
  const { port } = proxied.proxy;
  try {
    const watches = await Promise.all(
      Array.from({ length: 300 }, () => {
        return open(port, { method: "GET", path: "/v2/keys/k?wait=true" });
      }),
    );
    await send(port, "PUT", "/v2/keys/k", "value=seen");
    await Promise.all(watches.map(({ ended }) => ended));
    for (const { body, isComplete } of watches) {
      assert.ok(isComplete);
      assert.match(body.toString(), /"value":"seen"/);
    }
  } finally {
    await destroyProxied(proxied);
  }
});

test("the disk remembers the members and the role, whatever the flags say then", async () => {
  const proxied = await makeProxied(1);
  const { members, proxy } = proxied;
  try {
    const file = join(proxy.dataDir, "proxy", "cluster");
    assert.deepEqual(JSON.parse(readFileSync(file, "utf8")), { PeerURLs: [members[0]?.peerUrl] });
    assert.equal(statSync(join(proxy.dataDir, "proxy")).mode & 0o777, 0o700);
    assert.equal(await proxy.end("SIGTERM"), 0);
    await proxy.start(["--proxy", "off", "--initial-cluster", "x=http://127.0.0.1:1"]);
    assert.match(proxy.log, /already initialized as proxy before, starting as etcd proxy/);
    assert.equal((await send(proxy.port, "GET", "/v2/members")).status, 200);
    assert.match((await send(proxy.port, "GET", "/health")).body.toString(), /"true"/);
    const metrics = (await send(proxy.port, "GET", "/metrics")).body.toString();
    assert.match(metrics, /etcd_proxy_handled_total\{[^}]*code="200"[^}]*\} 2/);
    await members[0]?.end("SIGKILL");
    assert.equal((await send(proxy.port, "GET", "/health")).status, 502);
    assert.equal((await send(proxy.port, "GET", "/health")).status, 503);
  } finally {
    await destroyProxied(proxied);
  }
});

test("a member beyond the size of its token becomes a proxy of the cluster", async () => {
  const host = await TestMember.create("ringd", ["--enable-discovery-service"]);
  const all = [host];
  try {
    const url = (await send(host.port, "GET", "/new?size=1")).body.toString();
    const founder = await TestMember.make("ringd", ["--name", "n1", "--discovery", url]);
    all.push(founder);
    await founder.start();
    const second = await TestMember.make("ringd", ["--name", "n2", "--discovery", url]);
    all.push(second);
    await second.start();
    assert.match(second.log, /discovery cluster is full, falling back to proxy/);
    await send(second.port, "PUT", "/v2/keys/k", "value=through");
    const read = await send(founder.port, "GET", "/v2/keys/k");
    assert.match(read.body.toString(), /"value":"through"/);
    // One that was to be a proxy does not count against the size, and waits for the cluster.
    const third = await TestMember.make("ringd", ["--proxy", "on", "--discovery", url]);
    all.push(third);
    await third.start();
    assert.equal((await send(third.port, "GET", "/v2/keys/k")).status, 200);
    await second.restart();
    assert.equal((await send(second.port, "GET", "/v2/keys/k")).status, 200);
  } finally {
    await Promise.all(all.map((one) => one.destroy()));
  }
});

test("before its members run, a proxy answers 503; it finds them within a second or so", async () => {
  const member = await TestMember.make("ringd");
  const proxy = await TestMember.make("ringd", [
    ...["--proxy", "on", "--initial-cluster", `default=${member.peerUrl}`],
  ]);
  try {
    await proxy.start();
    assert.equal((await send(proxy.port, "GET", "/v2/keys/")).status, 503);
    await member.start();
    await until("the proxy has found it", 10_000, async () => {
      return (await send(proxy.port, "GET", "/v2/keys/")).status === 200;
    });
  } finally {
    await Promise.all([member, proxy].map((one) => one.destroy()));
  }
});
