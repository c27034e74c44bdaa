import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import type { IncomingMessage } from "node:http";
import { get } from "node:https";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { SnapshotCheck } from "#ringd/snap/stream.js";
import { cleanEnv, RINGCTL } from "../ctl/run.js";
import { request, send } from "../support/http.js";
import { TestMember } from "../support/member.js";
import { freePorts } from "../support/ports.js";
import { until } from "../support/until.js";

/** `GET /v2/admin/snapshot` through each frontend, with clients that read slowly or not at all. */

const MIB = 2 ** 20;
const VALUE_BYTES = MIB;
/** More than the kernel's buffers of a connection and the rings take. */
const VALUES = 64;
const PATH = "/v2/admin/snapshot";

let member: TestMember;
const ports = { uws: 0, node: 0, tls: 0 };
before(async () => {
  member = await TestMember.make("ringd");
  const [node, tls] = await freePorts(2);
  Object.assign(ports, { uws: member.port, node, tls });
  const urls = `${member.clientUrl},http://127.0.0.1:${node},https://127.0.0.1:${tls}`;
  await member.start([
    ...["--listen-client-urls", urls, "--frontend", `uws,http://127.0.0.1:${node}=node`],
    "--auto-tls",
  ]);
  for (let i = 0; i < VALUES; i++) {
    const body = `value=${"x".repeat(VALUE_BYTES)}`;
    assert.equal((await send(member.port, "PUT", `/v2/keys/large/${i}`, body)).status, 201);
  }
});
after(() => member.destroy());

async function ask(port: number, version: string, method = "GET"): Promise<Socket> {
  const socket = connect(port, "127.0.0.1");
  socket.on("error", () => undefined);
  await once(socket, "connect");
  socket.write(`${method} ${PATH} HTTP/${version}\r\nHost: 127.0.0.1\r\n\r\n`);
  return socket;
}

async function openSnapshots(): Promise<number> {
  const text = (await send(member.port, "GET", "/metrics")).body.toString();
  return Number(/^ringd_open_snapshots (\d+)$/m.exec(text)?.[1] ?? 0);
}

function residentBytes(): number {
  const status = readFileSync(`/proc/${member.pid}/status`, "utf8");
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) * 1024;
}

/** @returns milliseconds of the slowest of some PUTs */
async function slowestPut(count: number): Promise<number> {
  let slowestMs = 0;
  for (let i = 0; i < count; i++) {
    const startMs = performance.now();
    assert.ok(
      [200, 201].includes((await send(member.port, "PUT", "/v2/keys/a", "value=1")).status),
    );
    slowestMs = Math.max(slowestMs, performance.now() - startMs);
  }
  return slowestMs;
}

for (const kind of ["uws", "node"] as const) {
  test(`${kind}: who reads nothing holds up no write, takes bounded memory, and is disconnected`, async () => {
    const beforeBytes = residentBytes();
    const stuck = await Promise.all([1, 2, 3, 4].map(() => ask(ports[kind], "1.1")));
    for (const socket of stuck) socket.pause();
    await until("they are open", 10_000, async () => (await openSnapshots()) === 4);
    const rejected = await send(member.port, "GET", PATH);
    assert.deepEqual(
      [rejected.status, rejected.body.toString()],
      [503, '{"message":"etcdserver: too many requests"}'],
    );
    assert.ok((await slowestPut(50)) < 2000);
    // Four of 64 MiB each would be more.
    assert.ok(residentBytes() - beforeBytes < 128 * MIB, "what they do not read stays unmade");
    await until("they are disconnected", 60_000, async () => (await openSnapshots()) === 0);
    for (const socket of stuck) socket.destroy();
  });

  test(`${kind}: who reads slowly gets all of it`, async () => {
    const check = new SnapshotCheck();
    const response = await fetch(`http://127.0.0.1:${ports[kind]}${PATH}`);
    assert.equal(response.headers.get("content-type"), "application/octet-stream");
    assert.ok(Number(response.headers.get("x-etcd-index")) > VALUES);
    for (const name of ["x-raft-term", "x-etcd-cluster-id"]) assert.ok(response.headers.get(name));
    let nextPauseBytes = 16 * MIB;
    for await (const piece of response.body as unknown as AsyncIterable<Uint8Array>) {
      check.push(piece);
      if (check.bytes < nextPauseBytes) continue;
      nextPauseBytes += 16 * MIB;
      await slowestPut(20);
    }
    assert.ok(check.finish() !== undefined && check.bytes > VALUES * VALUE_BYTES);
  });
}

test("HTTP/1.0 gets it without chunks, up to the end of the connection", async () => {
  const socket = await ask(ports.node, "1.0");
  const chunks: Buffer[] = [];
  socket.on("data", (bytes) => chunks.push(bytes));
  await once(socket, "close");
  const all = Buffer.concat(chunks);
  const end = all.indexOf("\r\n\r\n");
  const head = all.toString("latin1", 0, end);
  assert.match(head, /^HTTP\/1\.0 200 OK\r\n/);
  assert.doesNotMatch(head, /Transfer-Encoding|Content-Length/i);
  const check = new SnapshotCheck();
  check.push(all.subarray(end + 4));
  assert.ok(check.finish() !== undefined);
});

test("TLS", async () => {
  const options = { rejectUnauthorized: false };
  const [response] = (await once(
    get(`https://127.0.0.1:${ports.tls}${PATH}?quorum=true`, options),
    "response",
  )) as [IncomingMessage];
  assert.equal(response.statusCode, 200);
  const check = new SnapshotCheck();
  for await (const piece of response) check.push(piece as Buffer);
  assert.ok(check.finish() !== undefined);
});

test("HEAD and other methods: 405 with Allow", async () => {
  for (const port of [ports.uws, ports.node]) {
    for (const method of ["HEAD", "PUT", "POST", "DELETE"]) {
      const { status, headers } = await request(port, { method, path: PATH });
      assert.deepEqual([status, headers.get("allow")], [405, "GET"], method);
    }
  }
});

test("a member that stops, or is killed, in the middle of it: nothing is saved", async () => {
  const dir = join(member.dataDir, "..", "saved");
  rmSync(dir, { recursive: true, force: true });
  for (const signal of ["SIGTERM", "SIGKILL"] as const) {
    const args = ["--endpoints", member.clientUrl, "snapshot", "save", `${dir}.snap`];
    const child = spawn(process.execPath, [RINGCTL, ...args], { env: cleanEnv() });
    const closed = once(child, "close");
    let err = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      err += text;
    });
    const parent = join(dir, "..");
    const half = () => readdirSync(parent).find((name) => name.startsWith(".saved.snap.tmp"));
    await until("it has begun", 10_000, () => {
      const name = half();
      return name !== undefined && statSync(join(parent, name)).size > 0;
    });
    await member.end(signal);
    const [code] = (await closed) as [number | null];
    assert.equal(code, 4, err);
    assert.match(err, /^http:.*: the snapshot was cut after \d+ bytes: nothing was saved\n$/);
    assert.equal(half(), undefined);
    assert.ok(!readdirSync(parent).includes("saved.snap"));
    await member.start();
  }
});
