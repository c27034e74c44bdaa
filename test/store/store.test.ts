import assert from "node:assert/strict";
import { test } from "node:test";
import { type Command, CommandOp, commandOf } from "#ringd/store/command.js";
import {
  CommandDecodeError,
  decodeCommand,
  encodeCommand,
  encodedBytes,
} from "#ringd/store/command-codec.js";
import { Action, Event } from "#ringd/store/event.js";
import { KeySpace } from "#ringd/store/key-space.js";
import { Node } from "#ringd/store/node.js";
import { Refusal } from "#ringd/store/refusal.js";
import { SnapshotDecodeError, SnapshotDecoder, SnapshotEncoder } from "#ringd/store/snapshot.js";
import { Store } from "#ringd/store/store.js";
import { Prng } from "../support/prng.js";
import { SEED } from "../support/seed.js";

const START_MS = 1_700_000_000_000;
/** Indexes of comparisons: numbers up to where they round. */
const INDEXES = [
  1,
  2,
  3,
  5,
  8,
  13,
  2 ** 32,
  2 ** 53 - 1,
  2n ** 53n,
  2n ** 53n + 1n,
  2n ** 64n - 1n,
];

function command(op: CommandOp, path: string, extra: Partial<Command> = {}): Command {
  const { value = "", timeMs = START_MS, ...options } = extra;
  return commandOf(op, path, value, timeMs, options);
}

function randomCommand(prng: Prng, timeMs: number): Command {
  const op = prng.pick(Object.values(CommandOp));
  const path = `/1${Array.from({ length: 1 + prng.below(3) }, () => `/${"abc_"[prng.below(4)]}`).join("")}`;
  return command(op, op === CommandOp.sync ? "" : path, {
    value: prng.oneIn(3) ? "" : String.fromCharCode(prng.below(256)).repeat(prng.below(20)),
    isDirectory: prng.oneIn(4),
    isRecursive: prng.oneIn(3),
    isRefresh: prng.oneIn(10),
    expirationMs: prng.oneIn(3) ? timeMs + prng.below(5000) : 0,
    prevValue: prng.oneIn(5) ? "x" : "",
    prevIndex: prng.oneIn(5) ? prng.pick(INDEXES) : 0,
    timeMs,
  });
}

function roundTrip(original: Command): Command {
  const bytes = Buffer.alloc(encodedBytes(original));
  encodeCommand(original, bytes, new DataView(bytes.buffer, bytes.byteOffset, bytes.length), 0);
  return decodeCommand(bytes);
}

function snapshotOf(store: Store): Store {
  const encoder = new SnapshotEncoder(store);
  const decoder = new SnapshotDecoder();
  for (let block = encoder.next(); block !== undefined; block = encoder.next()) decoder.push(block);
  return decoder.finish();
}

/** Everything by which clients could tell two stores apart. */
function content(store: Store): unknown {
  const cursor = store.view().cursor("");
  const nodes = [];
  for (let node = cursor.next(); node !== undefined; node = cursor.next()) nodes.push({ ...node });
  const { index, expiringNodes, events, bytes } = store;
  return { index, bytes, expiringNodes, nodes, events, stats: store.stats.toArray() };
}

test(`a store and its restored snapshot stay equal under the same commands, SEED=${SEED}`, () => {
  const prng = new Prng(SEED);
  let store = new Store();
  let twin = new Store();
  for (let n = 0; n < 4000; n++) {
    const next = randomCommand(prng, START_MS + n * 20);
    const result = store.apply(next);
    assert.deepEqual(twin.apply(next), result);
    if (prng.oneIn(300)) {
      store.checkInvariants();
      twin = snapshotOf(store);
      assert.deepEqual(content(twin), content(store));
    }
  }
  store.checkInvariants();
  store = snapshotOf(store);
  assert.deepEqual(content(twin), content(store));
  assert.ok(store.index > 1000);
});

test("a restored store shares nodes with its history, and with the store before", () => {
  const store = new Store();
  for (const value of ["one", "two", "three"])
    store.apply(command(CommandOp.set, "/1/a", { value }));
  store.apply(command(CommandOp.set, "/1/b", { value: "b" }));
  const encoder = new SnapshotEncoder(store);
  const decoder = new SnapshotDecoder({}, store);
  for (let block = encoder.next(); block !== undefined; block = encoder.next()) decoder.push(block);
  const twin = decoder.finish();
  assert.equal(twin.get("/1/a"), store.get("/1/a"));
  const [first, second, third] = twin.events;
  assert.equal(second?.prevNode, first?.node);
  assert.equal(third?.prevNode, second?.node);
  assert.equal(third?.node, twin.get("/1/a"));
  assert.equal(twin.bytes, store.bytes);
});

test("a set or create below a file is rejected with the file's path, and counted as in etcd", () => {
  const store = new Store();
  store.apply(command(CommandOp.set, "/1/file", { value: "x" }));
  const below = "/1/file/a/b";
  for (const [op, extra, setsFail] of [
    [CommandOp.set, {}, 1],
    [CommandOp.set, { isRefresh: true }, 2],
    [CommandOp.create, {}, 3],
  ] as const) {
    const refusal = store.apply(command(op, below, extra));
    assert(refusal instanceof Refusal);
    assert.equal(refusal.code, 104);
    assert.equal(refusal.cause, "/1/file");
    assert.equal(store.stats.get("setsFail"), setsFail);
  }
  assert.equal(store.stats.get("createFail"), 1);
  const missing = store.apply(command(CommandOp.set, "/1/none/a", { isRefresh: true }));
  assert(missing instanceof Refusal && missing.code === 100 && missing.cause === "/1/none");
  store.checkInvariants();
});

test("a snapshot shows the state at its start, whatever changes while it is taken", () => {
  const store = new Store();
  for (let n = 0; n < 5000; n++) {
    store.apply(command(CommandOp.set, `/1/k${n}`, { value: "v".repeat(200) }));
  }
  const before = content(store);
  const encoder = new SnapshotEncoder(store);
  const decoder = new SnapshotDecoder();
  let blocks = 0;
  for (let block = encoder.next(); block !== undefined; block = encoder.next()) {
    decoder.push(block);
    blocks++;
    store.apply(command(CommandOp.set, `/1/k${blocks}`, { value: "changed" }));
    store.apply(command(CommandOp.delete, `/1/k${4000 + blocks}`));
  }
  assert.ok(blocks > 4);
  assert.deepEqual(content(decoder.finish()), before);
});

test("malformed blocks are rejected", () => {
  const decoder = new SnapshotDecoder();
  assert.throws(() => decoder.push(Uint8Array.of(2, 255, 0, 0, 0)), SnapshotDecodeError);
  assert.throws(() => decoder.push(Uint8Array.of(9)), SnapshotDecodeError);
  assert.throws(() => decoder.finish(), SnapshotDecodeError);
});

test("expiry removes the oldest deadline first, and a directory with its descendants in one event", () => {
  const store = new Store();
  const set = (path: string, afterMs: number, isDirectory = false) =>
    store.apply(command(CommandOp.set, path, { isDirectory, expirationMs: START_MS + afterMs }));
  set("/1/late", 3000);
  set("/1/d", 2000, true);
  store.apply(command(CommandOp.set, "/1/d/child"));
  set("/1/early", 1000);
  const indexBefore = store.index;
  store.apply(command(CommandOp.sync, "", { timeMs: START_MS + 2000 }));
  const expired = store.events.slice(-2);
  assert.deepEqual(
    expired.map((event) => [event.action, event.node.path]),
    [
      [Action.expire, "/1/early"],
      [Action.expire, "/1/d"],
    ],
  );
  assert.equal(store.index, indexBefore + 2);
  assert.equal(store.get("/1/d/child"), undefined);
  assert.ok(store.get("/1/late") !== undefined);
  assert.equal(store.stats.get("expireCount"), 2);
});

test("many refreshes of one key leave one deadline", () => {
  const store = new Store();
  store.apply(command(CommandOp.set, "/1/a", { value: "v", expirationMs: START_MS + 1000 }));
  for (let n = 1; n <= 20_000; n++) {
    const expirationMs = START_MS + 1000 + n;
    store.apply(command(CommandOp.update, "/1/a", { isRefresh: true, expirationMs }));
  }
  assert.equal(store.expiringNodes, 1);
  store.apply(command(CommandOp.sync, "", { timeMs: START_MS + 20_999 }));
  assert.equal(store.get("/1/a")?.value, "v");
  store.apply(command(CommandOp.sync, "", { timeMs: START_MS + 21_000 }));
  assert.equal(store.get("/1/a"), undefined);
});

test("one watch gets events of its key, its descendants, and a removed parent", () => {
  const store = new Store();
  store.apply(command(CommandOp.set, "/1/a/b", { value: "1" }));
  const watch = (watcherId: number, path: string, isRecursive = false, isStream = false) =>
    store.hub.add(
      { watcherId, path, isRecursive, isStream, sinceIndex: store.index + 1 },
      store.index,
    );
  assert.equal(watch(1, "/1/a/b"), undefined);
  assert.equal(watch(2, "/1", true, true), undefined);
  assert.equal(watch(3, "/1/other"), undefined);
  store.apply(command(CommandOp.set, "/1/_hidden", { value: "1" }));
  store.apply(command(CommandOp.set, "/1/a/c", { value: "1" }));
  store.apply(command(CommandOp.delete, "/1/a", { isRecursive: true }));
  const told = store.hub.takeDeliveries().map(({ event, oneShots, streams }) => ({
    path: event.node.path,
    oneShots,
    streams,
  }));
  assert.deepEqual(told, [
    { path: "/1/a/c", oneShots: [], streams: [2] },
    { path: "/1/a", oneShots: [1], streams: [2] },
  ]);
  assert.equal(store.hub.count, 2);
});

test("a failed comparison shows the requested index unchanged", () => {
  const store = new Store();
  store.apply(command(CommandOp.set, "/1/a", { value: "x" }));
  for (const prevIndex of INDEXES.slice(1)) {
    const swap = roundTrip(command(CommandOp.compareAndSwap, "/1/a", { prevIndex }));
    assert.equal((store.apply(swap) as Refusal).cause, `[${prevIndex} != 1]`);
  }
});

test("a deadline before 2000 makes a new node permanent, and an old one due", () => {
  const longAgo = { value: "x", expirationMs: -1 };
  for (const op of [CommandOp.update, CommandOp.compareAndSwap, CommandOp.set, CommandOp.create]) {
    const store = new Store();
    if (op !== CommandOp.create) store.apply(command(CommandOp.set, "/1/a", { value: "old" }));
    store.apply(command(op, "/1/a", { ...longAgo, prevIndex: 1 }));
    const isDue = op === CommandOp.update || op === CommandOp.compareAndSwap;
    assert.equal(store.expiringNodes, isDue ? 1 : 0);
    store.apply(command(CommandOp.sync, "", { timeMs: START_MS }));
    assert.equal(store.get("/1/a") === undefined, isDue);
    store.checkInvariants();
  }
});

test("the history begins 1000 events ago", () => {
  const store = new Store();
  for (let n = 0; n < 1500; n++) store.apply(command(CommandOp.set, "/1/a", { value: String(n) }));
  const ask = (sinceIndex: number) =>
    store.hub.add(
      { watcherId: 1, path: "/1/a", isRecursive: false, isStream: false, sinceIndex },
      store.index,
    );
  const oldest = ask(501);
  assert.ok(oldest instanceof Event && oldest.index === 501);
  const tooOld = ask(500);
  assert.ok(tooOld instanceof Refusal);
  assert.equal(tooOld.cause, "the requested history has been cleared [501/500]");
});

test(`commands survive encoding, and hostile bytes are rejected, SEED=${SEED}`, () => {
  const prng = new Prng(SEED);
  for (let n = 0; n < 2000; n++) {
    const original = randomCommand(prng, START_MS);
    const bytes = Buffer.alloc(encodedBytes(original));
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    assert.equal(encodeCommand(original, bytes, view, 0), bytes.length);
    assert.deepEqual(decodeCommand(bytes), original);
    const broken = Buffer.from(bytes.subarray(0, prng.below(bytes.length)));
    assert.throws(() => decodeCommand(broken), CommandDecodeError);
  }
});

test("a snapshot whose events do not lead up to its index is rejected", () => {
  const store = new Store();
  for (let n = 0; n < 5; n++) store.apply(command(CommandOp.set, "/1/a", { value: String(n) }));
  const encoder = new SnapshotEncoder(store);
  const blocks: Buffer[] = [];
  for (let block = encoder.next(); block !== undefined; block = encoder.next()) blocks.push(block);
  const [head, nodes, events] = blocks as [Buffer, Buffer, Buffer];
  const decode = (...parts: Buffer[]) => {
    const decoder = new SnapshotDecoder();
    for (const part of parts) decoder.push(part);
    return decoder.finish();
  };
  assert.equal(decode(head, nodes, events).index, 5);
  const later = Buffer.from(head);
  later.writeDoubleLE(6, 1);
  assert.throws(() => decode(later, nodes, events), SnapshotDecodeError);
  assert.throws(() => decode(head, nodes, events, events), /event 1 follows 5$/);
});

test("calls that would corrupt the store's state end the thread", () => {
  const isMistake = { name: "AssertionError", message: /^Broken invariant/ };
  const store = new Store();
  const watch = { path: "/1/a", isRecursive: false, isStream: false, sinceIndex: 1 };
  store.apply(command(CommandOp.set, "/1/b"));
  assert.equal(store.hub.add({ ...watch, watcherId: 1, sinceIndex: 2 }, store.index), undefined);
  const again = { ...watch, watcherId: 1, path: "/1/c", sinceIndex: 2 };
  assert.throws(() => store.hub.add(again, store.index), isMistake);
  assert.throws(() => store.become(store), isMistake);
  const set = command(CommandOp.set, "/1/a", { value: "long" });
  const small = Buffer.alloc(encodedBytes(set) - 1);
  const view = new DataView(small.buffer, small.byteOffset, small.length);
  assert.throws(() => encodeCommand(set, small, view, 0), isMistake);

  const keys = new KeySpace();
  const node = new Node("/a", "", false, 1, 1, 0);
  keys.put(node, undefined);
  const other = new Node("/a", "", false, 2, 2, 0);
  assert.throws(() => keys.put(other, undefined), isMistake);
  assert.throws(() => keys.remove(node), isMistake);
});

test("a snapshot whose nodes are not in order is rejected, and is no bug of the tree", () => {
  const node = (path: string) => {
    const bytes = Buffer.alloc(33 + path.length);
    bytes.writeUInt32LE(path.length, 0);
    bytes.write(path, 33, "latin1");
    return bytes;
  };
  const encoder = new SnapshotEncoder(new Store());
  encoder.next();
  const kind = encoder.next()?.subarray(0, 1) as Uint8Array;
  const decoder = new SnapshotDecoder();
  decoder.push(Buffer.concat([kind, node("/1/a"), node("/1/b")]));
  assert.throws(() => decoder.push(Buffer.concat([kind, node("/1/b")])), SnapshotDecodeError);
});
