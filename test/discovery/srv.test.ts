import assert from "node:assert/strict";
import { isIP } from "node:net";
import { test } from "node:test";
import { type Dns, type SrvRecord, srvClients, srvInitialCluster } from "#ringd/discovery/srv.js";
import { TestDns } from "../support/dns.js";
import { send } from "../support/http.js";
import { PORT_LOST, TestMember } from "../support/member.js";
import { assertOneCluster, destroy } from "./founders.js";

/** Tables of a DNS in memory. */
function dnsOf(
  services: Readonly<Record<string, readonly (readonly [string, number, number?])[]>>,
  hosts: Readonly<Record<string, readonly string[]>>,
): Dns {
  return {
    async srv(name) {
      const records = services[name];
      if (records === undefined) throw new Error(`lookup ${name}: no such host`);
      return records.map(
        ([target, port, priority = 0]): SrvRecord => ({ name: target, port, priority, weight: 0 }),
      );
    },
    async addresses(host) {
      const found = hosts[host] ?? (isIP(host) !== 0 ? [host] : undefined);
      if (found === undefined) throw new Error(`getaddrinfo ENOTFOUND ${host}`);
      return found;
    },
  };
}

const HOSTS = { "a.x": ["10.0.0.1"], "b.x": ["10.0.0.2", "fd00::2"], "c.x": ["10.0.0.3"] };
const QUERY = { domain: "x", suffix: "" };
const own = (url: string) => ({ name: "me", peerUrls: [url] });

test("the records of both services are the cluster; the own address gets the own name", async () => {
  const dns = dnsOf(
    {
      "_etcd-server._tcp.x": [["a.x.", 2380, 5] as const, ["b.x", 2380, 1] as const],
      "_etcd-server-ssl._tcp.x": [["c.x", 2380] as const],
    },
    HOSTS,
  );
  assert.equal(
    await srvInitialCluster(QUERY, own("http://10.0.0.1:2380"), dns),
    "0=https://c.x:2380,1=http://b.x:2380,me=http://a.x:2380",
  );
  assert.equal(
    await srvInitialCluster(QUERY, own("http://[fd00::2]:2380"), dns),
    "0=https://c.x:2380,me=http://b.x:2380,1=http://a.x:2380",
  );
  assert.equal(
    await srvInitialCluster(QUERY, undefined, dns),
    "0=https://c.x:2380,1=http://b.x:2380,2=http://a.x:2380",
  );
});

test("a suffix names another service", async () => {
  const dns = dnsOf({ "_etcd-server-two._tcp.x": [["a.x", 1] as const] }, HOSTS);
  const query = { domain: "x", suffix: "two" };
  assert.equal(await srvInitialCluster(query, own("http://a.x:1"), dns), "me=http://a.x:1");
  await assert.rejects(srvInitialCluster(QUERY, own("http://a.x:1"), dns), {
    name: "SrvError",
    message: /--discovery-srv=x: .*_etcd-server-ssl._tcp.x: no such host; .*_etcd-server._tcp.x/,
  });
});

test("a member that no record leads to, by port, scheme or host, is told so", async () => {
  const dns = dnsOf(
    { "_etcd-server._tcp.x": [["a.x", 2380] as const, ["gone.x", 2380] as const] },
    HOSTS,
  );
  const refused = async (url: string, message: RegExp) =>
    assert.rejects(srvInitialCluster(QUERY, own(url), dns), { name: "SrvError", message });
  await refused("http://a.x:7001", /cannot find local etcd member "me" in SRV records/);
  await refused("https://a.x:2380", /scheme mismatch with expected peer https:\/\/a.x:2380/);
  await refused(
    "http://none.x:1",
    /cannot resolve --initial-advertise-peer-urls=http:\/\/none.x:1/,
  );
  const empty = dnsOf({ "_etcd-server._tcp.x": [[".", 0] as const] }, HOSTS);
  await assert.rejects(srvInitialCluster(QUERY, undefined, empty), /no records/);
});

test("clients' records keep priority and weight", async () => {
  const dns = dnsOf(
    {
      "_etcd-client._tcp.x": [
        ["b.x.", 2379, 9],
        ["a.x", 2379, 1],
      ],
    },
    HOSTS,
  );
  const found = await srvClients(QUERY, dns);
  assert.deepEqual(
    found.map(({ scheme, name, priority }) => [scheme, name, priority]),
    [
      ["http", "a.x", 1],
      ["http", "b.x", 9],
    ],
  );
  await assert.rejects(srvClients({ domain: "y", suffix: "" }, dns), {
    message: /dns lookup errors of --discovery-srv=y: .*client-ssl.* and .*client/,
  });
});

/** "localhost" is compared as text, as in etcd. */
function advertised({ peerUrl }: TestMember): string[] {
  return ["--initial-advertise-peer-urls", peerUrl.replace("127.0.0.1", "localhost")];
}

test("three members found a cluster by DNS alone; one that is not listed is refused", async () => {
  const dns = await TestDns.start();
  const before = process.env.NODE_OPTIONS;
  process.env.NODE_OPTIONS = dns.nodeOptions;
  const started: TestMember[] = [];
  try {
    for (let attempt = 1; ; attempt++) {
      await destroy(started.splice(0));
      for (const n of [1, 2, 3]) {
        const flags = ["--name", `n${n}`, "--discovery-srv", "srv.test"];
        started.push(await TestMember.make("ringd", flags));
      }
      dns.records.set(
        "_etcd-server._tcp.srv.test",
        started.map(({ peerUrl }) => ({
          target: "localhost",
          port: Number(peerUrl.split(":")[2]),
        })),
      );
      try {
        await Promise.all(started.map((member) => member.start(advertised(member))));
        break;
      } catch (error) {
        if (attempt === 5 || !started.some(({ log }) => PORT_LOST.test(log))) throw error;
      }
    }
    await assertOneCluster(started);
    const proxy = await TestMember.make("ringd", [
      ...["--proxy", "readonly", "--discovery-srv", "srv.test"],
    ]);
    started.push(proxy);
    await proxy.start();
    const read = await send(proxy.port, "GET", "/v2/keys/hello");
    assert.match(read.body.toString(), /"value":"all"/);
    assert.equal((await send(proxy.port, "PUT", "/v2/keys/hello", "value=x")).status, 501);
    const other = await TestMember.make("ringd", ["--discovery-srv", "srv.test"]);
    started.push(other);
    other.launch();
    assert.equal(await other.untilExit(), 1);
    assert.match(other.log, /cannot find local etcd member "default" in SRV records/);
    const none = await TestMember.make("ringd", ["--discovery-srv", "none.test"]);
    started.push(none);
    none.launch();
    assert.equal(await none.untilExit(), 1);
    assert.match(none.log, /lookup _etcd-server._tcp.none.test on 127.0.0.1:\d+: no such host/);
  } finally {
    if (before === undefined) delete process.env.NODE_OPTIONS;
    else process.env.NODE_OPTIONS = before;
    await destroy(started);
    dns.close();
  }
});
