import assert from "node:assert/strict";
import { test } from "node:test";
import {
  AppendType,
  DurableType,
  writeBytes,
  writeEntry,
  writeFormat,
} from "#ringd/messages/log.js";
import { writeNumbers } from "#ringd/messages/numbers.js";
import { WAL_PART } from "#ringd/messages/topology.js";
import { createMetricsMemory, MetricCells } from "#ringd/metrics/cells.js";
import { Bell } from "#ringd/ring/bell.js";
import { Inlet, Outlet } from "#ringd/ring/fragments.js";
import { createRing, RingReader, RingWriter } from "#ringd/ring/ring.js";
import { DiskError } from "#ringd/storage/errors.js";
import { WalLoop } from "#ringd/wal/loop.js";
import { Wal } from "#ringd/wal/wal.js";
import { SimDisk } from "../wal/sim-disk.js";

/** A log's loop between two rings, over a simulated disk. */
function makeLoop(whatIsMissing?: () => string | undefined) {
  const disk = new SimDisk();
  const metadataIfNew = { memberId: 1n, clusterId: 2n };
  const { wal } = Wal.open({ disk, metadataIfNew, formatIfNew: 1 });
  const [appendMemory, durableMemory] = [createRing(65_536), createRing(65_536)];
  const [walBell, coreBell] = [new Bell(Bell.create()), new Bell(Bell.create())];
  const append = new Outlet(new RingWriter(appendMemory, walBell));
  const world = {
    nowMs: 0,
    warned: [] as unknown[],
    fatal: [] as string[],
    failed: [] as string[],
    types: [] as number[],
  };
  const log = {
    fatal: (_: unknown, line: string) => world.fatal.push(line),
    warn: (...line: unknown[]) => world.warned.push(line),
    error: () => undefined,
    info: () => undefined,
  };
  const loop = new WalLoop({
    wal,
    append: new RingReader(appendMemory, coreBell),
    durable: new Outlet(new RingWriter(durableMemory, coreBell)),
    openSnapshot: () => assert.fail("nobody asks for a snapshot"),
    ...(whatIsMissing === undefined ? {} : { whatIsMissing }),
    maxWals: 5,
    metrics: new MetricCells(createMetricsMemory(3), WAL_PART),
    monoMs: () => world.nowMs,
    log: log as never,
  });
  const durable = Inlet.withCursor(new RingReader(durableMemory, walBell), (record) => {
    world.types.push(record.type);
    if (record.type === DurableType.failed) world.failed.push(record.utf8(0));
  });
  const turn = () => {
    append.publish();
    loop.turn();
    durable.drain(100);
  };
  let index = 0;
  const write = () => {
    const entry = { index: ++index, term: 1, type: 0, data: new Uint8Array(10) };
    writeEntry(append, AppendType.entry, entry);
    turn();
  };
  return { append, disk, loop, turn, wal, world, write };
}

test("the log changes its format with the next batch once the core says so", () => {
  const { append, wal, write } = makeLoop();
  write();
  writeFormat(append, 2);
  write();
  write();
  assert.equal(wal.format, 2);
  assert.equal(wal.segments.length, 2);
  writeFormat(append, 1);
  writeFormat(append, 99);
  write();
  assert.equal(wal.format, 2, "there is no way back, and none to what is not known");
  assert.equal(wal.segments.length, 2);
});

test("the core can end the log: nothing more is written, and the reason is reported once", () => {
  const { append, disk, loop, turn, world, write } = makeLoop();
  write();
  writeBytes(append, AppendType.giveUp, Buffer.from("a snapshot could not be saved"));
  turn();
  const steps = disk.steps.length;
  write();
  writeBytes(append, AppendType.giveUp, Buffer.from("again"));
  turn();
  assert.equal(disk.steps.length, steps);
  assert.ok(loop.hasFailed);
  assert.equal(world.fatal.length, 1);
  assert.deepEqual(world.failed, [
    "Cannot write the log: a snapshot could not be saved. Restart the member once the disk is sound",
  ]);
});

test("a full disk is one record, and available space another", () => {
  const { disk, turn, world, write } = makeLoop();
  write();
  disk.capacityBytes = disk.usedBytes;
  for (let n = 0; !world.types.includes(DurableType.blocked); n++) {
    assert.ok(n < 100_000, "the disk is full at some time");
    write();
  }
  world.types.length = 0;
  write();
  assert.deepEqual(world.types, []);
  disk.capacityBytes = Number.POSITIVE_INFINITY;
  world.nowMs += 60_000;
  turn();
  assert.deepEqual(world.types, [DurableType.unblocked]);
});

test("files are checked once a second, also by an idle log; a missing one ends it", () => {
  let missing: string | undefined;
  let looks = 0;
  const { disk, loop, turn, world, write } = makeLoop(() => {
    looks++;
    return missing;
  });
  for (let n = 0; n < 50; n++) write();
  assert.equal(looks, 1, "not with each batch");
  assert.equal(loop.msToNext(), 1000);
  missing = "/data/member/wal is gone";
  world.nowMs += 999;
  turn();
  assert.equal(loop.hasFailed, false);
  world.nowMs += 1;
  assert.equal(loop.msToNext(), 0);
  turn();
  assert.ok(loop.hasFailed);
  assert.equal(looks, 2);
  const steps = disk.steps.length;
  write();
  assert.equal(disk.steps.length, steps);
  assert.match(world.failed.join(), /^Cannot write the log: \/data\/member\/wal is gone\. /);
  assert.equal(loop.msToNext(), Number.POSITIVE_INFINITY);
});

test("a log that failed with a large batch still takes the order to stop, and sleeps until then", () => {
  const { append, disk, loop, turn } = makeLoop();
  disk.before = ({ op }) => {
    if (op === "datasync") throw new DiskError("fdatasync", "log", "EIO");
  };
  const data = new Uint8Array(5 * 1024 * 1024);
  writeEntry(append, AppendType.entry, { index: 1, term: 1, type: 0, data });
  for (let n = 0; !loop.hasFailed; n++) {
    assert.ok(n < 10_000, "the batch is complete at some time");
    turn();
  }
  writeBytes(append, AppendType.giveUp, Buffer.from("more")); // Dropped.
  turn();
  assert.equal(loop.hasWork(), false);
  writeNumbers(append, AppendType.stop);
  turn();
  assert.ok(loop.isStopped);
});

test("an fdatasync that takes over a second is logged in etcd's words", () => {
  const { wal, world, write } = makeLoop();
  const sync = wal.sync.bind(wal);
  let tookMs = 1000;
  wal.sync = () => {
    world.nowMs += tookMs;
    return sync();
  };
  write();
  assert.deepEqual(world.warned, []);
  tookMs = 1234.5;
  write();
  const [[fields, text] = []] = world.warned as [Record<string, unknown>, string][];
  assert.equal(text, "slow fdatasync");
  const { bytes, ...others } = fields ?? {};
  assert.ok(Number(bytes) > 10);
  assert.deepEqual(others, {
    took: "1.2345s",
    "expected-duration": "1s",
    entries: 1,
    "last-index": 2,
  });
});
