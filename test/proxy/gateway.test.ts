import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { type TestContext, test } from "node:test";
import { readGatewayFlags } from "#ringd/proxy/gateway-flags.js";
import { type Remote, Remotes } from "#ringd/proxy/remotes.js";
import { TcpGateway } from "#ringd/proxy/tcp-gateway.js";
import { TestDns } from "../support/dns.js";
import { send } from "../support/http.js";
import { TestMember } from "../support/member.js";
import { freePorts } from "../support/ports.js";
import { until } from "../support/until.js";

const RINGD = new URL("../../bin/ringd.js", import.meta.url).pathname;

const remote = (port: number, priority = 0, weight = 0): Remote => ({
  ...{ host: "127.0.0.1", port, priority, weight },
});

function logOf() {
  const lines: string[] = [];
  const take = (_: unknown, message?: string) => lines.push(message ?? "");
  return { lines, log: { info: take, warn: take } };
}

test("the best priority gets the connections, by weight, in turns without", () => {
  let drawn = 0.5;
  const [a, b, c, d] = [remote(1, 1, 10), remote(2, 1, 30), remote(3, 1), remote(4, 2)];
  const remotes = new Remotes([d, a, b, c], () => drawn);
  const pick = (random: number) => {
    drawn = random;
    return remotes.pick()?.port;
  };
  assert.deepEqual([0.1, 0.24, 0.26, 0.99].map(pick), [1, 1, 2, 2]);
  assert.equal(pick(0.001), 3, "one in a hundred");
  assert.equal(remotes.deactivate(a), true);
  assert.equal(remotes.deactivate(a), false);
  remotes.deactivate(b);
  assert.equal(pick(0.5), 3);
  remotes.deactivate(c);
  assert.equal(pick(0.5), 4);
  remotes.deactivate(d);
  assert.equal(pick(0.5), undefined);
  remotes.activate(b);
  assert.equal(pick(0.5), 2);
  const turns = new Remotes([remote(1), remote(2)]);
  assert.deepEqual(
    [1, 2, 3, 4].map(() => turns.pick()?.port),
    [1, 2, 1, 2],
  );
});

async function listening(t: TestContext, server: Server): Promise<number> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  return (server.address() as AddressInfo).port;
}

async function gatewayTo(t: TestContext, ports: readonly number[], retryMs = 60_000) {
  const { lines, log } = logOf();
  const gateway = new TcpGateway(new Remotes(ports.map((port) => remote(port))), retryMs, log);
  const port = await gateway.listen({ host: "127.0.0.1", port: 0 });
  t.after(() => gateway.close());
  return { port, lines };
}

test("bytes pass both ways; a side that has ended still reads; a dead member is skipped", async (t) => {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    let text = "";
    socket.on("data", (bytes) => {
      text += bytes;
    });
    socket.on("end", () => socket.end(`got ${text}`));
  });
  const { port, lines } = await gatewayTo(t, [1, await listening(t, server)]);
  for (const word of ["one", "two"]) {
    const client = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
    client.end(word);
    let text = "";
    for await (const bytes of client) text += bytes;
    assert.equal(text, `got ${word}`);
  }
  assert.deepEqual(lines, ["deactivated endpoint"]);
});

test("the end of one side is the end of the other; without members clients are closed", async (t) => {
  const accepted: Socket[] = [];
  const server = createServer((socket) => {
    accepted.push(socket);
    socket.on("error", () => undefined);
  });
  const { port } = await gatewayTo(t, [await listening(t, server)]);
  for (const side of ["client", "member"]) {
    const client = connect(port, "127.0.0.1");
    client.on("error", () => undefined);
    client.resume();
    await until("it arrived", 5000, () => accepted.length === 1);
    const [member] = accepted.splice(0) as [Socket];
    member.resume();
    const ended = once(side === "client" ? member : client, "close");
    (side === "client" ? client : member).destroy();
    await ended;
  }
  const none = await gatewayTo(t, [1]);
  const client = connect(none.port, "127.0.0.1");
  client.resume();
  await once(client, "close");
});

test("a member that failed is tried again after the delay", async (t) => {
  const [memberPort = 0] = await freePorts(1);
  const { port, lines } = await gatewayTo(t, [memberPort], 50);
  const refused = connect(port, "127.0.0.1");
  refused.resume();
  await once(refused, "close");
  await until("it was tried", 5000, () => lines.includes("failed to activate endpoint"));
  const server = createServer((socket) => {
    socket.on("error", () => undefined); // Of the connection that only tried it.
    socket.end("here");
  }).listen(memberPort, "127.0.0.1");
  t.after(() => server.close());
  await until("it is back", 5000, () => lines.includes("activated"));
  const [bytes] = (await once(connect(port, "127.0.0.1"), "data")) as [Buffer];
  assert.equal(bytes.toString(), "here");
});

test("flags: schemes are stripped; what is no address or time is named", () => {
  const flags = readGatewayFlags([
    "start",
    "--endpoints=http://a:1, [::1]:2,https://c:3/",
    "--retry-delay",
    "1m30s",
  ]);
  assert.ok(flags !== "help");
  assert.deepEqual(flags.endpoints, [
    { host: "a", port: 1 },
    { host: "::1", port: 2 },
    { host: "c", port: 3 },
  ]);
  assert.equal(flags.retryDelayMs, 90_000);
  assert.equal(readGatewayFlags([]), "help");
  for (const [argv, message] of [
    [["stop"], /unknown command "stop"/],
    [["start", "--endpoints", "a"], /--endpoints has "a", which is not host:port/],
    [["start", "--listen-addr", "[a]:1"], /--listen-addr has/],
    [["start", "--retry-delay", "5"], /--retry-delay is "5"/],
    [["start", "--nope"], /Unknown option '--nope'/],
    [["start", "stray"], /gateway: /],
  ] as const) {
    assert.throws(() => readGatewayFlags(argv), { name: "ConfigError", message }, argv.join(" "));
  }
});

/** Waits for its line. @returns its log so far */
async function ready(child: ChildProcess): Promise<void> {
  let log = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on("data", (text: Buffer) => {
      log += text;
    });
  }
  await until(
    () => `it is ready: ${log}`,
    20_000,
    () => {
      return log.includes("ready to proxy client requests");
    },
  );
}

test("ringd gateway start: a client reaches the member, also by DNS; a loop is refused", async () => {
  const member = await TestMember.create("ringd");
  const dns = await TestDns.start();
  dns.records.set("_etcd-client._tcp.srv.test", [{ target: "localhost", port: member.port }]);
  const env = { ...process.env, NODE_OPTIONS: dns.nodeOptions };
  const [port = 0] = await freePorts(1);
  const start = [RINGD, "gateway", "start", "--listen-addr", `127.0.0.1:${port}`];
  const srv = ["--discovery-srv", "srv.test"];
  try {
    for (const more of [
      ["--endpoints", member.clientUrl],
      [...srv, "--insecure-discovery"],
    ]) {
      const child = spawn(process.execPath, [...start, ...more], { env });
      try {
        await ready(child);
        assert.match((await send(port, "GET", "/version")).body.toString(), /etcdserver/);
      } finally {
        const ended = once(child, "exit");
        child.kill("SIGTERM");
        assert.deepEqual(await ended, [0, null]);
      }
    }
    const loop = [...start, "--endpoints", `localhost:${port}`];
    const { status, stderr } = spawnSync(process.execPath, loop, { encoding: "utf8" });
    assert.equal(status, 1);
    assert.match(stderr, /^SRV or endpoint .* should not resolve to the gateway listen addr/);
  } finally {
    dns.close();
    await member.destroy();
  }
});

test("records without TLS are not taken unless asked for", async () => {
  const dns = await TestDns.start();
  dns.records.set("_etcd-client._tcp.srv.test", [{ target: "localhost", port: 1 }]);
  const env = { ...process.env, NODE_OPTIONS: dns.nodeOptions };
  const argv = [RINGD, "gateway", "start", "--listen-addr", "127.0.0.1:0"];
  const child = spawn(process.execPath, [...argv, "--discovery-srv", "srv.test"], { env });
  let log = "";
  child.stderr.on("data", (text: Buffer) => {
    log += text;
  });
  const [status] = (await once(child, "close")) as [number];
  dns.close();
  assert.equal(status, 1);
  assert.match(log, /none of the endpoints of --discovery-srv=srv.test .*--insecure-discovery/);
});
