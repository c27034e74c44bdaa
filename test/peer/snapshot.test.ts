import assert from "node:assert/strict";
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { type ClientRequest, request } from "node:http";
import { request as secureRequest } from "node:https";
import { createServer, type Socket } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { encodeConf } from "#ringd/cluster/conf-state.js";
import { helloHeaders } from "#ringd/peer/hello.js";
import { readSnapshotHead, snapshotHeaders } from "#ringd/peer/snapshot-head.js";
import type { ConfState } from "#ringd/raft/entry.js";
import type { Message } from "#ringd/raft/message.js";
import { SnapshotWriter } from "#ringd/snap/writer.js";
import { until } from "../support/until.js";
import {
  CLUSTER,
  connected,
  Endpoint,
  membersOf,
  reply,
  stopAll,
  TLS,
  temporaryDirectory,
} from "./endpoint.js";

const CONF: ConfState = { voters: [1n, 2n], learners: [0xfedcba9876543210n] };
const BLOCK_BYTES = 256 * 1024;

/** Writes a snapshot file of term 2. @returns its name */
function writeFile(
  dir: string,
  index: number,
  blocks: number,
  metadata = encodeConf(CONF),
): string {
  const writer = new SnapshotWriter(dir, { term: 2, index, metadata });
  for (let i = 0; i < blocks; i++) writer.writeBlock(Buffer.alloc(BLOCK_BYTES, i));
  return writer.finish().slice(dir.length + 1);
}

function snapshotMessage(from: bigint, to: bigint, index: number): Message {
  return { type: "snapshot", from, to, term: 5, meta: { index, term: 2, conf: CONF } };
}

/** A transfer as a leader begins it, with the test as member 2. */
function transfer(
  to: Endpoint,
  fileBytes: number,
  changes: Record<string, string> = {},
  method = "POST",
): ClientRequest {
  const head = { senderTerm: 5, term: 2, index: 7, fileBytes };
  const hello = helloHeaders({ memberId: 2n, clusterId: CLUSTER }, to.id, [], 2);
  const call = (TLS === undefined ? request : secureRequest)(`${to.url}/ringd/snapshot`, {
    ...{ method, agent: false, ...TLS?.serverOptions() },
    headers: { ...hello, ...snapshotHeaders(head), ...changes },
  });
  call.on("error", () => undefined);
  return call;
}

async function answerOf(call: ClientRequest): Promise<string> {
  const [response] = await once(call, "response");
  const parts: Buffer[] = [];
  for await (const part of response) parts.push(part);
  return `${response.statusCode} ${Buffer.concat(parts)}`;
}

/** An endpoint that knows a member 2, played by the test. */
async function receiver(snapshotStallMs = 10_000): Promise<Endpoint> {
  const one = new Endpoint(1n, { snapshotStallMs });
  const two = new Endpoint(2n);
  await one.listen();
  await two.listen();
  one.network.setMembers(membersOf([one, two]));
  await two.stop();
  return one;
}

function wholeFile(index: number, blocks: number): Buffer {
  const dir = temporaryDirectory();
  return readFileSync(join(dir, writeFile(dir, index, blocks)));
}

test("the newest snapshot file goes to a member that needs it", async () => {
  const [one, two] = (await connected(2)) as [Endpoint, Endpoint];
  writeFile(one.snapDir, 5, 1);
  const file = writeFile(one.snapDir, 9, 60);
  one.send(snapshotMessage(1n, 2n, 7));
  await one.until("sent", () => one.count("snapshotSent") === 1);
  assert.deepEqual(one.told.at(-1), { kind: "snapshotSent", id: 2n, hasArrived: true });
  const received = two.told.filter(({ kind }) => kind === "snapshotReceived");
  assert.deepEqual(received, [{ kind: "snapshotReceived", message: snapshotMessage(1n, 2n, 9) }]);
  assert.deepEqual(readdirSync(two.snapDir), [file]);
  const target = join(two.snapDir, file);
  assert.ok(readFileSync(target).equals(readFileSync(join(one.snapDir, file))));
  await stopAll([one, two]);
});

test("messages pass during a snapshot transfer", async () => {
  const [one, two] = (await connected(2)) as [Endpoint, Endpoint];
  writeFile(one.snapDir, 9, 200);
  one.send(snapshotMessage(1n, 2n, 9), reply(1n, 2n, 1));
  await two.until("message", () => two.messages.length === 1);
  assert.equal(two.count("snapshotReceived"), 0);
  await one.until("sent", () => one.count("snapshotSent") === 1);
  assert.equal(two.count("snapshotReceived"), 1);
  await stopAll([one, two]);
});

test("old snapshots are purged after a received one", async () => {
  const [one, two] = (await connected(2)) as [Endpoint, Endpoint];
  for (const index of [1, 2, 3]) writeFile(two.snapDir, index, 1);
  writeFile(one.snapDir, 9, 1);
  one.send(snapshotMessage(1n, 2n, 9));
  await one.until("sent", () => one.count("snapshotSent") === 1);
  const indexes = readdirSync(two.snapDir).map((name) => Number.parseInt(name.slice(17), 16));
  assert.deepEqual(indexes.sort(), [2, 3, 9]);
  await stopAll([one, two]);
});

test("a snapshot that is missing, or for an unknown member, is reported as not sent", async () => {
  const [one, two] = (await connected(2)) as [Endpoint, Endpoint];
  writeFile(one.snapDir, 5, 1);
  one.send(snapshotMessage(1n, 2n, 7));
  await one.until("end", () => one.count("snapshotSent") === 1);
  assert.deepEqual(one.told.at(-1), { kind: "snapshotSent", id: 2n, hasArrived: false });
  await one.untilLogged(/no snapshot file up to index 7/);
  one.send(snapshotMessage(1n, 77n, 5));
  await one.until("end", () => one.count("snapshotSent") === 2);
  assert.deepEqual(one.told.at(-1), { kind: "snapshotSent", id: 77n, hasArrived: false });
  await stopAll([one, two]);
});

test("a failed transfer is reported later each time, until one succeeds", async () => {
  const [one, two] = (await connected(2)) as [Endpoint, Endpoint];
  let told = 0;
  const attempt = async () => {
    const startMs = performance.now();
    one.send(snapshotMessage(1n, 2n, 9));
    told++;
    await one.until("end", () => one.count("snapshotSent") === told);
    return performance.now() - startMs;
  };
  // Timers may fire a millisecond early.
  for (const waitMs of [100, 200, 400]) assert.ok((await attempt()) >= waitMs - 2);
  writeFile(one.snapDir, 9, 1);
  await attempt();
  assert.deepEqual(one.told.at(-1), { kind: "snapshotSent", id: 2n, hasArrived: true });
  await stopAll([one, two]);
});

test("a damaged snapshot is rejected, and an undamaged one afterwards accepted", async () => {
  const [one, two] = (await connected(2)) as [Endpoint, Endpoint];
  const file = writeFile(one.snapDir, 9, 20);
  const path = join(one.snapDir, file);
  const sound = readFileSync(path);
  const damaged = Buffer.from(sound);
  damaged.writeUInt8(damaged.readUInt8(3_000_000) ^ 16, 3_000_000);
  writeFileSync(path, damaged);
  one.send(snapshotMessage(1n, 2n, 9));
  await one.until("end", () => one.count("snapshotSent") === 1);
  assert.deepEqual(one.told.at(-1), { kind: "snapshotSent", id: 2n, hasArrived: false });
  await one.untilLogged(/cannot send snapshot .*damaged at byte/);
  assert.equal(two.count("snapshotReceived"), 0);
  assert.deepEqual(readdirSync(two.snapDir), []);

  writeFileSync(path, sound);
  one.send(snapshotMessage(1n, 2n, 9));
  await one.until("end", () => one.count("snapshotSent") === 2);
  assert.equal(two.count("snapshotReceived"), 1);
  await stopAll([one, two]);
});

test("an interrupted transfer leaves no files behind", async () => {
  const one = await receiver();
  const file = wholeFile(7, 20);
  const call = transfer(one, file.length);
  call.write(file.subarray(0, 1_000_000));
  await one.untilLogged(/receiving snapshot/);
  call.destroy();
  await one.untilLogged(/did not receive the snapshot/);
  assert.deepEqual(readdirSync(one.snapDir), []);
  assert.equal(one.count("snapshotReceived"), 0);
  await stopAll([one]);
});

test("a transfer's file cannot be removed: the member continues", async () => {
  const one = await receiver();
  const file = wholeFile(7, 20);
  const call = transfer(one, file.length);
  call.write(file.subarray(0, 1_000_000));
  await one.untilLogged(/receiving snapshot/);
  const temporary = join(one.snapDir, "received-2-1.snap.tmp");
  await until("the file", 5000, () => existsSync(temporary));
  rmSync(temporary);
  mkdirSync(temporary);
  call.destroy();
  await one.untilLogged(/did not receive the snapshot/);
  const again = transfer(one, file.length);
  again.end(file);
  assert.match(await answerOf(again), /^204 /);
  await stopAll([one]);
});

test("the receiver aborts a stalled transfer", async () => {
  const one = await receiver(200);
  const file = wholeFile(7, 2);
  const call = transfer(one, file.length);
  call.write(file.subarray(0, 1000));
  await one.untilLogged(/did not receive the snapshot.*no data for 200 ms/);
  assert.deepEqual(readdirSync(one.snapDir), []);
  call.destroy();
  await stopAll([one]);
});

test("the sender aborts a stalled transfer", async () => {
  const one = new Endpoint(1n, { snapshotStallMs: 200 });
  const two = new Endpoint(2n);
  await one.listen();
  const sockets: Socket[] = [];
  const silent = createServer((socket) => sockets.push(socket.on("error", () => undefined)));
  silent.listen(0, "127.0.0.1");
  await once(silent, "listening");
  const address = silent.address();
  assert.ok(typeof address === "object" && address !== null);
  two.url = `http://127.0.0.1:${address.port}`;
  one.network.setMembers(membersOf([one, two]));
  writeFile(one.snapDir, 9, 1);
  one.send(snapshotMessage(1n, 2n, 9));
  await one.until("end", () => one.count("snapshotSent") === 1);
  await one.untilLogged(/cannot send snapshot.*stalled for 200 ms/);
  await stopAll([one, two]);
  for (const socket of sockets) socket.destroy();
  silent.close();
});

test("a newer transfer of the same member replaces the one before", async () => {
  const one = await receiver();
  const file = wholeFile(7, 4);
  const first = transfer(one, file.length);
  first.write(file.subarray(0, 1000));
  await one.untilLogged(/receiving snapshot/);
  const other = transfer(one, file.length, {
    "x-ringd-from": "3",
    "x-ringd-peer-urls": "http://h:1",
  });
  other.end(file);
  assert.match(await answerOf(other), /^503 another member's snapshot is being received/);
  const second = transfer(one, file.length);
  second.end(file);
  assert.equal(await answerOf(second), "204 ");
  await one.untilLogged(/a newer transfer has begun/);
  assert.equal(one.count("snapshotReceived"), 1);
  assert.deepEqual(readdirSync(one.snapDir).length, 1);
  first.destroy();
  await stopAll([one]);
});

test("a transfer by a non-member, or of another file, is rejected", async () => {
  const one = await receiver();
  const file = wholeFile(7, 1);
  const refusal = async (changes: Record<string, string>, body = file) => {
    const call = transfer(one, body.length, changes);
    call.end(body);
    return answerOf(call);
  };
  assert.match(await refusal({ "x-etcd-cluster-id": "1" }), /^412 cluster ID mismatch/);
  assert.match(await refusal({ "x-ringd-from": "3" }), /^404 member 3 is not known/);
  assert.match(await refusal({ "x-ringd-snapshot-index": "8" }), /^422 the file is damaged/);
  assert.match(
    await refusal({ "x-ringd-snapshot-index": "-1" }),
    /^400 the snapshot headers are invalid/,
  );
  assert.match(await refusal({ "x-ringd-term": "1" }), /^400 the snapshot headers are invalid/);
  assert.match(await refusal({}, Buffer.alloc(5000, 1)), /^422 the file is damaged at byte 0/);
  assert.match(await refusal({}, file.subarray(0, -1)), /^422 the file is damaged/);
  const dir = temporaryDirectory();
  const strange = readFileSync(join(dir, writeFile(dir, 7, 1, Buffer.from("{}"))));
  assert.match(await refusal({}, strange), /^422 the file holds no valid membership/);
  const noOne = readFileSync(join(dir, writeFile(dir, 7, 1, Buffer.from('{"voters":["0"]}'))));
  assert.match(await refusal({}, noOne), /^422 .* a member has the id 0/);
  const get = transfer(one, 0, {}, "GET");
  get.end();
  assert.match(await answerOf(get), /^405 /);
  assert.deepEqual(readdirSync(one.snapDir), []);
  assert.equal(one.count("snapshotReceived"), 0);
  await stopAll([one]);
});

test("only the remains of an earlier incarnation's transfer are removed", async () => {
  const before = new Endpoint(1n);
  const others = ["x.snap.tmp", "0000000000000001-0000000000000001.snap"];
  for (const name of ["received-2-1.snap.tmp", ...others]) {
    writeFileSync(join(before.snapDir, name), "x");
  }
  const after = new Endpoint(1n, { snapDir: before.snapDir });
  assert.deepEqual(readdirSync(before.snapDir).sort(), others.sort());
  await stopAll([before, after]);
});

test("a stop ends transfers at once", async () => {
  const one = await receiver();
  const file = wholeFile(7, 4);
  const call = transfer(one, file.length);
  call.write(file.subarray(0, 1000));
  await one.untilLogged(/receiving snapshot/);
  await one.stop();
  assert.deepEqual(readdirSync(one.snapDir), []);
  call.destroy();
});

test("the headers of a transfer read back, or are rejected", () => {
  const head = { senderTerm: 5, term: 3, index: 2 ** 53 - 1, fileBytes: 12 };
  assert.deepEqual(readSnapshotHead(snapshotHeaders(head)), head);
  for (const name of Object.keys(snapshotHeaders(head))) {
    if (name === "content-type") continue;
    for (const text of ["", "x", "-1", "1e3", "99999999999999999999"]) {
      assert.equal(readSnapshotHead({ ...snapshotHeaders(head), [name]: text }), undefined);
    }
  }
});
