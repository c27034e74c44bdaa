import assert from "node:assert/strict";
import { test } from "node:test";
import { Space } from "#ringd/member/space.js";
import { createMetricsMemory, MetricCells } from "#ringd/metrics/cells.js";
import { NO_LIMITS, type StoreLimits } from "#ringd/process/heap.js";
import { type Command, CommandOp, syncCommand } from "#ringd/store/command.js";
import { Store } from "#ringd/store/store.js";

const QUOTA = 1_000_000;
const LIMITS: StoreLimits = {
  ...{ quotaBytes: QUOTA, heapBytes: 1.3 * QUOTA, historyBytes: QUOTA / 8 },
  logBytes: Number.POSITIVE_INFINITY,
};
const SILENT = { info: () => undefined, warn: () => undefined };
const IDLE = { openBytes: 0, viewBytes: 0, members: 1 };

function command(op: CommandOp, path: string, extra: Partial<Command> = {}): Command {
  return { ...syncCommand(1e12), op, path, ...extra };
}

const set = (path: string, bytes: number) =>
  command(CommandOp.set, path, { value: "x".repeat(bytes) });

function setUp(limits = LIMITS): { store: Store; space: Space } {
  const store = new Store({ historyBytesMax: limits.historyBytes });
  const metrics = new MetricCells(createMetricsMemory(1), 0);
  return { store, space: new Space(store, limits, metrics, SILENT) };
}

/** @returns the number of accepted keys */
function fill(store: Store, space: Space, bytes: number): number {
  for (let n = 0; ; n++) {
    const next = set(`/1/k${n}`, bytes);
    if (space.judge(next, IDLE) !== "admitted") return n;
    store.apply(next);
    assert.ok(store.bytes <= QUOTA);
  }
}

test("above the quota writes that add are rejected, others are not", () => {
  const { store, space } = setUp();
  const keys = fill(store, space, 1000);
  assert.ok(keys > 700 && space.isFull);
  const judge = (asked: Command) => space.judge(asked, IDLE);
  assert.equal(judge(set("/1/new", 0)), "full");
  assert.equal(judge(set("/1/k1", 1001)), "full");
  assert.equal(judge(command(CommandOp.createInOrder, "/1")), "full");
  assert.equal(judge(command(CommandOp.create, "/1/d", { isDirectory: true })), "full");
  assert.equal(judge(command(CommandOp.update, "/1/k1", { value: "x".repeat(1001) })), "full");
  for (const [op, path, extra] of [
    [CommandOp.set, "/1/k1", { value: "x".repeat(1000) }],
    [CommandOp.compareAndSwap, "/1/k1", { value: "y", prevValue: "x" }],
    [CommandOp.update, "/1/k1", { isRefresh: true, expirationMs: 2e12 }],
    [CommandOp.update, "/1/none", { value: "x".repeat(5000) }], // 100: Key not found.
    [CommandOp.create, "/1/k1", { value: "x".repeat(5000) }], // 105: Key already exists.
    [CommandOp.delete, "/1/k1", {}],
    [CommandOp.compareAndDelete, "/1/k1", { prevValue: "x" }],
  ] as const) {
    assert.equal(judge(command(op, path, extra)), "admitted");
  }
});

test("there is room again at some distance below the quota, also for a value that was too large", () => {
  const { store, space } = setUp();
  const keys = fill(store, space, 1000);
  // Deleted values stay in the history for a while: at most an eighth of the quota.
  let deleted = 0;
  while (space.judge(set("/1/new", 1), IDLE) === "full") {
    assert.ok(deleted < keys / 3, "it is not the history that fills the store");
    store.apply(command(CommandOp.delete, `/1/k${deleted++}`));
  }
  assert.ok(store.bytes < QUOTA * (1 - 2 / 64) && deleted > 1);
  assert.equal(space.judge(set("/1/large", 200_000), IDLE), "full");
  assert.equal(space.isFull, false, "small ones go on");
  assert.equal(space.judge(set("/1/new", 1), IDLE), "admitted");
});

test("the history of large values shrinks, and does not block the store", () => {
  const { store, space } = setUp();
  for (let n = 0; n < 200; n++) {
    assert.equal(space.judge(set("/1/one", 50_000), IDLE), "admitted");
    store.apply(set("/1/one", 50_000));
  }
  assert.ok(store.bytes < QUOTA / 4);
  assert.ok(store.events.length >= 1 && store.events.length < 5);
  assert.equal(store.events.at(-1)?.index, store.index);
});

test("writes in flight count on every member, and are rejected temporarily", () => {
  const { store, space } = setUp();
  fill(store, space, 100_000); // Nine of them.
  assert.equal(space.judge(set("/1/new", 10), { ...IDLE, openBytes: 20_000 }), "admitted");
  assert.equal(space.judge(set("/1/new", 10), { ...IDLE, openBytes: 20_000, members: 5 }), "busy");
  assert.equal(space.judge(set("/1/new", 10), { ...IDLE, openBytes: 200_000 }), "busy");
  // A view keeps replaced values: even one of the same length adds to the heap.
  const same = set("/1/k1", 100_000);
  assert.equal(space.judge(same, { ...IDLE, viewBytes: 100_000 }), "admitted");
  assert.equal(space.judge(same, { ...IDLE, viewBytes: 300_000 }), "busy");
  assert.equal(
    space.judge(command(CommandOp.delete, "/1/k1"), { ...IDLE, viewBytes: QUOTA }),
    "admitted",
  );
});

test("without a quota nothing is rejected", () => {
  const { store, space } = setUp(NO_LIMITS);
  for (let n = 0; n < 100; n++) store.apply(set(`/1/k${n}`, 100_000));
  assert.equal(space.judge(set("/1/new", 1e7), { ...IDLE, openBytes: 1e9 }), "admitted");
  space.look();
  assert.equal(space.isFull, false);
});
