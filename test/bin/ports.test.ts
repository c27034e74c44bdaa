import assert from "node:assert/strict";
import { once } from "node:events";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, createConnection, createServer, type Server } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { request, send } from "../support/http.js";
import { TestMember } from "../support/member.js";
import { freePorts } from "../support/ports.js";
import { until } from "../support/until.js";

const FRONTENDS = ["uws", "node"] as const;

async function takePort(): Promise<{ server: Server; url: string }> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  return { server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}

/** The start fails with one line and exit code 1, and writes nothing. */
async function refusal(member: TestMember, args: readonly string[]): Promise<string> {
  member.launch(args);
  assert.equal(await member.untilExit(), 1, member.log);
  assert.equal(member.log.trim().split("\n").length, 1, member.log);
  assert.ok(!existsSync(member.dataDir), "nothing was written");
  return member.log;
}

for (const frontend of FRONTENDS) {
  test(`${frontend}: a port in use fails a start before anything is written`, async () => {
    const { server, url } = await takePort();
    const member = await TestMember.make("ringd", ["--frontend", frontend]);
    const { clientUrl, peerUrl } = member;
    const twice = (given: string) => given.replace("127.0.0.1", "localhost");
    const wildcard = (given: string) => given.replace("127.0.0.1", "0.0.0.0");
    const cases: readonly (readonly string[])[] = [
      ["--listen-client-urls", url],
      ["--listen-client-urls", wildcard(url)],
      ["--listen-client-urls", `${clientUrl},${twice(clientUrl)}`],
      ["--listen-client-urls", `${wildcard(clientUrl)},${clientUrl}`],
      ["--listen-client-urls", peerUrl],
      ["--listen-peer-urls", url],
      ["--listen-peer-urls", `${peerUrl},${peerUrl}`],
      ["--listen-metrics-urls", url],
      ["--listen-metrics-urls", clientUrl],
      ["--listen-metrics-urls", peerUrl],
    ];
    try {
      for (const args of cases) {
        assert.match(await refusal(member, args), /^Cannot listen .*address already in use/);
      }
      const foreign = await refusal(member, ["--listen-client-urls", "http://203.0.113.1:2379"]);
      assert.match(
        foreign,
        /^Cannot listen on 203\.0\.113\.1:2379: cannot assign requested address/,
      );
    } finally {
      server.close();
      await member.destroy();
    }
  });

  test(`${frontend}: a client that connects before the member is ready waits for it`, async () => {
    const [clientOne, peerOne, clientTwo, peerTwo] = await freePorts(4);
    const peers = [peerOne, peerTwo].map((port) => `http://127.0.0.1:${port}`);
    const cluster = `n0=${peers[0]},n1=${peers[1]}`;
    const flagsOf = (i: number, client: number | undefined) => {
      const url = `http://127.0.0.1:${client}`;
      const own = ["--name", `n${i}`, "--listen-client-urls", url, "--advertise-client-urls", url];
      own.push("--listen-peer-urls", peers[i] as string, "--initial-cluster", cluster);
      return [...own, "--initial-advertise-peer-urls", peers[i] as string, "--frontend", frontend];
    };
    const one = await TestMember.make("ringd", flagsOf(0, clientOne));
    const two = await TestMember.make("ringd", flagsOf(1, clientTwo));
    try {
      one.launch();
      const port = clientOne as number;
      await until("the port is bound", 20_000, () => canConnect(port));
      const gone = createConnection(port, "127.0.0.1");
      gone.end("PUT /v2/keys/gone?value=1 HTTP/1.1\r\nHost: ringd\r\nContent-Length: 0\r\n\r\n");
      await once(gone, "finish");
      gone.destroy();
      const put = send(port, "PUT", "/v2/keys/early", "value=1");
      const metrics = send(port, "GET", "/metrics");
      let isAnswered = false;
      void put.then(() => {
        isAnswered = true;
      });
      const ready = two.start();
      assert.ok(!isAnswered && !one.log.includes("serving insecure"), one.log);
      await ready;
      assert.equal((await put).status, 201);
      assert.equal((await metrics).status, 200);
      const got = await send(clientTwo as number, "GET", "/v2/keys/early?quorum=true");
      assert.match(got.body.toString(), /"value":"1"/);
    } finally {
      await one.destroy();
      await two.destroy();
    }
  });
}

function canConnect(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection(port, "127.0.0.1");
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}

test("a joining member with a port in use leaves cluster and data directory unchanged", async () => {
  const { server, url } = await takePort();
  const member = await TestMember.create("ringd");
  const newcomer = await TestMember.make("ringd", ["--name", "newcomer"]);
  try {
    const added = await request(member.port, {
      method: "POST",
      path: "/v2/members",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ peerURLs: [newcomer.peerUrl] }),
    });
    assert.equal(added.status, 201, added.body.toString());
    const before = (await send(member.port, "GET", "/v2/members")).body.toString();
    const cluster = `default=${member.peerUrl},newcomer=${newcomer.peerUrl}`;
    const join = ["--initial-cluster", cluster, "--initial-cluster-state", "existing"];
    for (const flag of ["--listen-client-urls", "--listen-peer-urls", "--listen-metrics-urls"]) {
      await refusal(newcomer, [...join, flag, url]);
    }
    assert.equal((await send(member.port, "GET", "/v2/members")).body.toString(), before);
    assert.equal((await send(member.port, "PUT", "/v2/keys/a", "value=1")).status, 201);
    await newcomer.start(join);
  } finally {
    server.close();
    await newcomer.destroy();
    await member.destroy();
  }
});

test("unix sockets: stale ones are replaced, those in use and other files are not", async () => {
  const member = await TestMember.make("ringd");
  const name = `${process.pid}.sock:1`;
  const path = join(process.cwd(), name);
  const args = ["--listen-client-urls", `${member.clientUrl},unix://${name}`];
  const owner = createServer().listen(path);
  try {
    await once(owner, "listening");
    assert.match(await refusal(member, args), /Cannot listen on .*: address already in use/);
    assert.ok(existsSync(path), "it belongs to somebody");
    owner.close();
    await once(owner, "close");
    writeFileSync(path, "kept");
    assert.match(await refusal(member, args), /Cannot listen on .*: there is a file/);
    assert.equal(readFileSync(path, "utf8"), "kept");
    rmSync(path);
    await member.start(args);
    await member.end("SIGKILL");
    assert.ok(existsSync(path), "left behind");
    await member.start(args);
  } finally {
    owner.close();
    await member.destroy();
    rmSync(path, { force: true });
  }
});
