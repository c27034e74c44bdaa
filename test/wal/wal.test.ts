import assert from "node:assert/strict";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { ENTRY_BYTES_MAX, type WalEntry } from "#ringd/messages/log-entry.js";
import { crc32c } from "#ringd/storage/crc32c.js";
import { FileDisk } from "#ringd/storage/disk.js";
import type { DiskOp } from "#ringd/storage/disk-op.js";
import {
  CorruptRecordError,
  DiskError,
  ForeignDataDirError,
  LogFailedError,
  LogFullError,
  LogGapError,
} from "#ringd/storage/errors.js";
import type { LogPosition } from "#ringd/wal/batch.js";
import type { WalOptions } from "#ringd/wal/open-log.js";
import { type Recovery, Wal } from "#ringd/wal/wal.js";
import { Prng } from "../support/prng.js";
import { SimDisk } from "./sim-disk.js";

const METADATA = { memberId: 0x8e9e_05c5_2164_694dn, clusterId: 0xcdf8_181e_3227_8f57n };
const SMALL = { metadataIfNew: METADATA, segmentBytes: 4096, zeroAheadBytes: 1024 };

function entry(index: number, term = 1, data = new Uint8Array(100).fill(index)): WalEntry {
  return { index, term, type: 0, data };
}

function fill(wal: Wal, from: number, to: number, term = 1): void {
  for (let index = from; index <= to; index++) {
    wal.append({ entries: [entry(index, term)] });
    wal.sync();
  }
}

function open(disk: SimDisk | FileDisk, more: Partial<WalOptions> = {}) {
  return Wal.open({ disk, ...SMALL, ...more });
}

function indexes(recovery: Recovery): number[] {
  return recovery.entries.map(({ index }) => index);
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, i) => from + i);
}

/** Fails every step of a kind. */
function failOn(op: DiskOp["op"], errno: string): (step: DiskOp) => void {
  return (step) => {
    if (step.op === op) throw new DiskError(op, "file", errno);
  };
}

test("entries with long runs of zeros survive any number of starts, in real files", (t) => {
  for (const formatIfNew of [1, 2] as const) {
    const dir = mkdtempSync(join(tmpdir(), "ringd-wal-"));
    t.after(() => rmSync(dir, { recursive: true }));
    const zeros = new Uint8Array(3000);
    const first = open(new FileDisk(dir), { formatIfNew });
    first.wal.append({ entries: [entry(1, 1, zeros)] });
    first.wal.sync();
    first.wal.close();
    // Each start rewrites the last record, as it may not be on disk.
    for (let start = 0; start < 3; start++) {
      const { wal, recovery } = open(new FileDisk(dir));
      const found = recovery.entries.map(({ data }) => new Uint8Array(data));
      assert.deepEqual(found, [zeros], `format ${formatIfNew}, start ${start}`);
      wal.close();
    }
  }
});

test("entries, the hard state and the metadata are read back from real files", (t) => {
  const dir = mkdtempSync(join(tmpdir(), "ringd-wal-"));
  t.after(() => rmSync(dir, { recursive: true }));
  const first = open(new FileDisk(dir));
  assert.equal(first.recovery.isNew, true);
  fill(first.wal, 1, 60);
  first.wal.append({ entries: [], hardState: { term: 3, vote: 2n ** 64n - 1n, commit: 59 } });
  assert.deepEqual(first.wal.sync(), { index: 60, term: 1 });
  assert(first.wal.segments.length > 1, "it takes more than one segment");
  first.wal.close();

  const { wal, recovery } = open(new FileDisk(dir), {
    metadataIfNew: { memberId: 1n, clusterId: 1n },
  });
  assert.equal(recovery.isNew, false);
  assert.deepEqual(recovery.metadata, METADATA);
  assert.deepEqual(recovery.hardState, { term: 3, vote: 2n ** 64n - 1n, commit: 59 });
  assert.deepEqual(indexes(recovery), range(1, 60));
  for (const { index, data } of recovery.entries) {
    assert.deepEqual(new Uint8Array(data), entry(index).data);
  }
  fill(wal, 61, 62);
  wal.close();
  assert.deepEqual(indexes(open(new FileDisk(dir)).recovery), range(1, 62));
  assert.equal(statSync(join(dir, wal.segments[0] as string)).mode & 0o777, 0o600);
});

test("a batch is one write and one fdatasync", () => {
  const disk = new SimDisk();
  const { wal } = open(disk, { segmentBytes: 1e6 });
  disk.steps.length = 0;
  wal.append({
    entries: range(1, 200).map((i) => entry(i)),
    hardState: { term: 1, vote: 1n, commit: 1 },
  });
  wal.sync();
  assert.deepEqual(disk.steps, ["write", "datasync"]);
  wal.sync();
  assert.equal(disk.steps.length, 2, "nothing new, nothing done");
});

test("a caller may copy an entry's data into the write buffer itself", () => {
  const disk = new SimDisk();
  const { wal } = open(disk);
  const shared = new Uint8Array(new SharedArrayBuffer(5000)).fill(0x41);
  for (const index of [1, 2]) {
    const at = wal.reserve(index, 7, 3, shared.length);
    wal.buffer.set(shared, at);
  }
  wal.sync();
  const { entries } = open(disk).recovery;
  const { data, ...head } = entries[1] as WalEntry;
  assert.deepEqual(head, { index: 2, term: 7, type: 3 });
  assert.deepEqual(Uint8Array.from(data), new Uint8Array(5000).fill(0x41));
});

test("an entry of the largest size, and a batch larger than a record, read back", () => {
  const disk = new SimDisk();
  const { wal } = open(disk, { segmentBytes: 2 ** 24 });
  const large = new Uint8Array(ENTRY_BYTES_MAX);
  large.fill(0x61, 1000, 5_000_000); // The rest is zeros.
  const entries = [
    entry(1),
    entry(2, 1, large),
    ...range(3, 4000).map((i) => entry(i, 1, large.subarray(0, 2000))),
  ];
  wal.append({ entries });
  wal.sync();
  const { recovery } = open(disk);
  assert.equal(recovery.entries.length, 4000);
  assert.equal(Buffer.compare((recovery.entries[1] as WalEntry).data, large), 0);
});

test("a later entry replaces the one of its index and all after it", () => {
  const disk = new SimDisk();
  const { wal } = open(disk);
  wal.append({ entries: range(1, 10).map((i) => entry(i)) });
  wal.append({ entries: [entry(4, 2), entry(5, 2)] });
  assert.deepEqual(wal.sync(), { index: 5, term: 2 });
  wal.append({ entries: [entry(5, 3)] });
  wal.sync();
  const { recovery } = open(disk);
  assert.deepEqual(
    recovery.entries.map(({ term }) => term),
    [1, 1, 1, 2, 3],
  );
  assert.deepEqual(recovery.hardState, { term: 3, vote: 0n, commit: 0 });
});

test("open() rejects a flipped bit anywhere except in unused bytes, with file and offset", () => {
  const disk = new SimDisk();
  const { wal } = open(disk, { segmentBytes: 3000 });
  fill(wal, 1, 16);
  // In the last segment, where damage could pass for a torn tail: values that are blank sectors.
  const values = [new Uint8Array(1200), new Uint8Array(100), new Uint8Array(900)];
  for (const [i, data] of values.entries()) {
    wal.append({ entries: [entry(17 + i, 1, data)], hardState: { term: 1, vote: 5n, commit: 16 } });
    wal.sync();
  }
  const whole = open(disk, { segmentBytes: 3000 }).recovery;
  assert.deepEqual(indexes(whole), range(1, 19));
  assert.equal(wal.segments.length, 2);
  let refused = 0;
  for (const file of wal.segments) {
    const bytes = disk.read(file);
    for (let at = 0; at < bytes.length; at++) {
      const bit = at % 8;
      for (const flip of [1 << bit, 1 << ((bit + 3) % 8)]) {
        const broken = bytes.slice();
        broken[at] = (broken[at] as number) ^ flip;
        disk.plant(file, broken);
        try {
          const { recovery } = open(disk, { segmentBytes: 3000 });
          assert.deepEqual(
            recovery,
            { ...whole, cutTail: recovery.cutTail },
            `byte ${at} of ${file}`,
          );
        } catch (error) {
          assert(error instanceof CorruptRecordError, String(error));
          assert(error.file.endsWith(".wal") && error.atBytes <= at + 16, error.message);
          assert.deepEqual(disk.read(file), broken, "a log that is refused is not touched");
          refused++;
        }
      }
    }
    disk.plant(file, bytes);
  }
  assert(refused > 2 * 3000, "most bytes are in use");
});

test("open() truncates a cut last segment to its complete records, and continues", () => {
  const disk = new SimDisk();
  const { wal } = open(disk, { segmentBytes: 1e6 });
  const ends = [512];
  for (const index of range(1, 12)) {
    fill(wal, index, index);
    ends.push(512 + index * 160);
  }
  const file = wal.segments[0] as string;
  const bytes = disk.read(file);
  for (let length = 512; length <= bytes.length; length += 7) {
    disk.plant(file, bytes.slice(0, length));
    const { wal: cut, recovery } = open(disk);
    // The last 12 bytes of a record are padding.
    const whole = ends.filter((end) => end - 12 <= length || end === 512).length - 1;
    assert.deepEqual(indexes(recovery), range(1, whole), `${length} bytes`);
    cut.append({ entries: [entry(whole + 1, 9)] });
    cut.sync();
    assert.equal(open(disk).recovery.entries.at(-1)?.term, 9);
  }
});

test("open() rejects a segment truncated within its header, or before its successor", () => {
  const disk = new SimDisk();
  const { wal } = open(disk);
  fill(wal, 1, 60);
  const [first, last] = [wal.segments[0] as string, wal.segments.at(-1) as string];
  const bytes = disk.read(last);
  disk.truncate(last, 511);
  assert.throws(() => open(disk), CorruptRecordError);
  disk.plant(last, bytes);
  disk.truncate(first, 3000);
  assert.throws(() => open(disk), CorruptRecordError);
  disk.truncate(first, 512);
  assert.throws(() => open(disk), CorruptRecordError, "also where it looks like a clean end");
});

test("open() rejects a gap between segments, and a log that begins after the snapshot", () => {
  const disk = new SimDisk();
  const { wal } = open(disk);
  fill(wal, 1, 120);
  const [first, second, third] = wal.segments as [string, string, string];
  const [bytes, header] = [disk.read(second), disk.read(third)];
  disk.remove(second);
  assert.throws(() => open(disk), LogGapError);
  disk.plant(second, bytes);
  disk.remove(first);
  assert.throws(() => open(disk), LogGapError);
  const begins = Number.parseInt(second.slice(17, 33), 16);
  const snapshot = { index: begins - 1, term: 1 };
  assert.deepEqual(indexes(open(disk, { snapshot }).recovery), range(begins, 120));
  disk.plant(`${"0".repeat(16)}-${"0".repeat(15)}1.wal`, header);
  assert.throws(() => open(disk, { snapshot }), CorruptRecordError, "a file under another's name");
});

test("open() rejects files of etcd and of a newer format, and leaves them unchanged", () => {
  const disk = new SimDisk();
  const { wal } = open(disk);
  const file = wal.segments[0] as string;
  const newer = Uint8Array.from(disk.read(file));
  newer[8] = 3;
  new DataView(newer.buffer).setUint32(508, crc32c(newer.subarray(0, 508), 0), true);
  const etcd = new Uint8Array(1024);
  etcd.set([4, 0, 0, 0, 0, 0, 0, 0x84, 8, 4, 0x10, 0]);
  disk.plant(file, etcd);
  disk.plant(`${file}.tmp`, etcd);
  assert.throws(() => open(disk), /was written by etcd/);
  assert.throws(() => open(disk), ForeignDataDirError);
  assert.deepEqual(Uint8Array.from(disk.read(`${file}.tmp`)), etcd);
  disk.plant(file, newer);
  assert.throws(
    () => open(disk),
    /by a newer ringd \(segment format 3\); this build reads up to 2; /,
  );
  assert.throws(() => open(disk), ForeignDataDirError);
  assert.deepEqual(Uint8Array.from(disk.read(file)), newer);
});

test("no space for records: nothing is lost, and sync() succeeds once there is space", () => {
  const disk = new SimDisk();
  const { wal } = open(disk, { segmentBytes: 1e6 });
  disk.capacityBytes = 40_000;
  let index = 0;
  for (;;) {
    wal.append({ entries: [entry(++index, 1, new Uint8Array(2000).fill(index))] });
    try {
      wal.sync();
    } catch (error) {
      assert(error instanceof LogFullError);
      break;
    }
  }
  assert.deepEqual(wal.durable, { index: index - 1, term: 1 });
  assert.throws(() => wal.sync(), LogFullError, "still full");
  // A member that stops here finds everything acknowledged; so does one that continues.
  const copy = new SimDisk();
  for (const file of disk.list()) copy.plant(file, disk.read(file));
  assert.deepEqual(indexes(open(copy).recovery), range(1, index - 1));
  wal.append({ entries: [entry(index + 1, 2)] });
  disk.capacityBytes = 1e9;
  assert.deepEqual(wal.sync(), { index: index + 1, term: 2 });
  fill(wal, index + 2, index + 4, 2);
  assert.deepEqual(indexes(open(disk).recovery), range(1, index + 4));
});

test("no space for a segment, at any step of making it: sync() succeeds once there is space", () => {
  for (const step of ["create", "write", "datasync", "rename", "syncDirectory"] as const) {
    const disk = new SimDisk();
    const { wal } = open(disk);
    let index = 0;
    let failures = 0;
    while (wal.segments.length === 1) {
      index++;
      wal.append({ entries: [entry(index)], hardState: { term: 1, vote: 1n, commit: index - 1 } });
      disk.before = (op) => {
        // Only while a segment is made, whose name is temporary until its rename.
        const file = op.op === "rename" ? op.from : op.op === "syncDirectory" ? ".tmp" : op.file;
        if (op.op === step && file.endsWith(".tmp")) throw new DiskError(step, file, "ENOSPC");
      };
      try {
        wal.sync();
      } catch (error) {
        assert(error instanceof LogFullError, step);
        failures++;
        assert.equal(wal.durable.index, index - 1);
        assert.deepEqual(
          disk.list().filter((name) => name.endsWith(".tmp")),
          [],
        );
        disk.before = () => {};
        assert.equal(wal.sync().index, index);
      }
    }
    fill(wal, index + 1, index + 3);
    assert.equal(failures, 1, step);
    assert.deepEqual(indexes(open(disk).recovery), range(1, index + 3));
  }
});

test("a failed write or flush of records ends the log: nothing is written after it", () => {
  const failures: [DiskOp["op"], string][] = [
    ["write", "EIO"],
    ["datasync", "EIO"],
    ["datasync", "ENOSPC"],
  ];
  for (const [op, errno] of failures) {
    const disk = new SimDisk();
    const { wal } = open(disk);
    fill(wal, 1, 3);
    wal.append({ entries: [entry(4)] });
    disk.before = failOn(op, errno);
    assert.throws(() => wal.sync(), LogFailedError);
    disk.before = () => {};
    disk.steps.length = 0;
    assert.throws(() => wal.sync(), LogFailedError);
    assert.throws(() => wal.append({ entries: [entry(5)] }), LogFailedError);
    assert.throws(() => wal.setHardState({ term: 1, vote: 0n, commit: 0 }), LogFailedError);
    assert.throws(() => wal.releaseBefore(3, 1), LogFailedError);
    assert.deepEqual(disk.steps, []);
    assert.deepEqual(indexes(open(disk).recovery).slice(0, 3), [1, 2, 3]);
  }
});

test("releaseBefore() drops the oldest segments, never one that is still needed", () => {
  const disk = new SimDisk();
  const { wal } = open(disk);
  fill(wal, 1, 200);
  const all = wal.segments;
  assert(all.length >= 5);
  assert.deepEqual(wal.releaseBefore(200, 0), [], "0 keeps all");
  assert.deepEqual(wal.releaseBefore(0, 1), [], "without a snapshot all are needed");
  const third = Number.parseInt((all[2] as string).slice(17, 33), 16);
  assert.deepEqual(wal.releaseBefore(third - 2, 1), all.slice(0, 1), "its last entry is needed");
  const snapshot = { index: third - 1, term: 1 };
  assert.deepEqual(wal.releaseBefore(snapshot.index, 1), all.slice(1, 2));
  assert.deepEqual(indexes(open(disk, { snapshot }).recovery), range(third, 200));
  assert.equal(wal.releaseBefore(200, 3).length, all.length - 2 - 3, "max-wals are kept");
  assert.deepEqual(wal.segments, disk.list().sort());
  assert.equal(wal.releaseBefore(200, 1).length, 2, "and the last one always");
});

test("releaseBefore() continues if the oldest segment was removed by hand", (t) => {
  const dir = mkdtempSync(join(tmpdir(), "ringd-wal-"));
  t.after(() => rmSync(dir, { recursive: true }));
  const { wal } = open(new FileDisk(dir));
  fill(wal, 1, 100);
  const all = wal.segments;
  rmSync(join(dir, all[0] as string));
  assert.deepEqual(wal.releaseBefore(100, 1), all.slice(0, -1));
  fill(wal, 101, 110);
  wal.close();
  const snapshot = { index: 100, term: 1 };
  assert.deepEqual(indexes(open(new FileDisk(dir), { snapshot }).recovery), range(101, 110));
});

test("the hard state survives the segments it was written in", () => {
  const disk = new SimDisk();
  const { wal } = open(disk);
  const hardState = { term: 5, vote: 9n, commit: 0 };
  wal.append({ entries: [], hardState });
  fill(wal, 1, 100, 5);
  wal.releaseBefore(100, 1);
  const { recovery } = open(disk, { snapshot: { index: 100, term: 5 } });
  assert.deepEqual(recovery.hardState, { term: 5, vote: 9n, commit: recovery.base.index });
});

test("a log overtaken by a snapshot restarts after it", () => {
  const cases: [LogPosition, string][] = [
    [{ index: 50, term: 4 }, "the snapshot is ahead"],
    [{ index: 15, term: 4 }, "the log disagrees with the snapshot"],
  ];
  for (const [snapshot, why] of cases) {
    const disk = new SimDisk();
    fill(open(disk).wal, 1, 20);
    for (let start = 0; start < 2; start++) {
      const { recovery } = open(disk, { snapshot });
      assert.deepEqual(recovery.base, snapshot, why);
      assert.deepEqual(indexes(recovery), []);
      assert.deepEqual(recovery.hardState, { term: 4, vote: 0n, commit: snapshot.index });
    }
    const { wal } = open(disk, { snapshot });
    fill(wal, snapshot.index + 1, snapshot.index + 3, 4);
    const { recovery } = open(disk, { snapshot });
    assert.deepEqual(indexes(recovery), range(snapshot.index + 1, snapshot.index + 3));
  }
});

test("installSnapshot() drops all entries, and open() then requires that snapshot", () => {
  const disk = new SimDisk();
  const { wal } = open(disk);
  fill(wal, 1, 20);
  const snapshot = { index: 40, term: 2 };
  wal.installSnapshot(snapshot);
  wal.append({ entries: [entry(41, 2)] });
  wal.sync();
  assert.deepEqual(indexes(open(disk, { snapshot }).recovery), [41]);
  assert.throws(() => open(disk), LogGapError);
  assert.throws(() => open(disk, { snapshot: { index: 20, term: 1 } }), LogGapError);
});

test("open() rejects a snapshot without a log, create() makes a log after it", () => {
  const disk = new SimDisk();
  const snapshot = { index: 40, term: 2 };
  assert.throws(() => open(disk, { snapshot }), LogGapError);
  assert.deepEqual(disk.list(), []);
  fill(Wal.create({ disk, ...SMALL, snapshot }).wal, 41, 43, 2);
  assert.deepEqual(indexes(open(disk, { snapshot }).recovery), [41, 42, 43]);
});

test("entries before the snapshot are returned as far as requested", () => {
  const disk = new SimDisk();
  const { wal } = open(disk);
  fill(wal, 1, 100);
  const snapshot = { index: 90, term: 1 };
  const recover = (keepBeforeSnapshot: number) =>
    open(disk, { snapshot, keepBeforeSnapshot }).recovery;
  assert.deepEqual(indexes(recover(0)), range(91, 100));
  assert.deepEqual(indexes(recover(10)), range(81, 100));
  assert.deepEqual(recover(10).base, { index: 80, term: 1 });
  assert.deepEqual(indexes(recover(5000)), range(1, 100));
});

test("open() lets its thread work while it reads, and calls back before it changes anything", () => {
  const disk = new SimDisk();
  fill(open(disk).wal, 1, 100);
  let pauses = 0;
  disk.steps.length = 0;
  const refuse = () => {
    throw new Error("the snapshot is damaged");
  };
  const meanwhile = () => {
    pauses++;
  };
  const snapshot = { index: 200, term: 1 };
  assert.throws(() => open(disk, { snapshot, meanwhile, beforeRepair: refuse }), /is damaged/);
  assert(pauses >= 2);
  assert.deepEqual(disk.steps, [], "nothing was changed");
  assert.deepEqual(indexes(open(disk).recovery), range(1, 100));
});

test("everything read is durable before open() returns", () => {
  const disk = new SimDisk();
  const { wal } = open(disk);
  fill(wal, 1, 3);
  wal.append({ entries: [entry(4)] });
  disk.before = failOn("datasync", "EIO");
  assert.throws(() => wal.sync(), LogFailedError);
  disk.before = () => {};
  disk.steps.length = 0;
  assert.deepEqual(indexes(open(disk).recovery), [1, 2, 3, 4]);
  assert(disk.steps.includes("datasync") && disk.steps.includes("syncDirectory"));
});

test("a log that was copied here is durable before open() returns, all of its segments", () => {
  const source = new SimDisk();
  fill(open(source).wal, 1, 100);
  const disk = new SimDisk();
  for (const file of source.list()) {
    disk.run({ op: "create", file });
    disk.run({ op: "write", file, atBytes: 0, chunks: [source.read(file)] });
  }
  assert(source.list().length > 2);
  const { wal } = open(disk);
  assert(disk.isDurable, "nothing is left that a power cut would take");
  fill(wal, 101, 110);
  disk.powerCut(new Prng(1));
  assert.deepEqual(indexes(open(disk).recovery), range(1, 110));
});

test("after a failed sync, the page cache's content is rewritten before it counts", () => {
  for (const failing of ["datasync", "syncDirectory"] as const) {
    for (const formatIfNew of [1, 2] as const) {
      const disk = new SimDisk();
      const { wal } = open(disk, { formatIfNew });
      disk.before = failOn(failing, "EIO");
      let index = 0;
      const isFailed = () => {
        try {
          fill(wal, index + 1, ++index);
          return false;
        } catch (error) {
          assert(error instanceof LogFailedError);
          return true;
        }
      };
      while (!isFailed());
      disk.before = () => {};
      const { wal: second, recovery } = open(disk, { formatIfNew });
      const found = recovery.entries.length;
      assert(disk.isDurable, `${failing}: nothing is left that a power cut would take`);
      fill(second, found + 1, found + 30);
      disk.powerCut(new Prng(1));
      assert.deepEqual(indexes(open(disk, { formatIfNew }).recovery), range(1, found + 30));
    }
  }
});

test("a start rewrites only the last batch, and the zeros ahead", () => {
  const disk = new SimDisk();
  const { wal } = open(disk, { segmentBytes: 1e6 });
  fill(wal, 1, 500);
  let bytes = 0;
  disk.before = (op) => {
    if (op.op === "write") for (const { length } of op.chunks) bytes += length;
  };
  assert.equal(open(disk, { segmentBytes: 1e6 }).recovery.entries.length, 500);
  assert(bytes <= 2 * SMALL.zeroAheadBytes + 512, `${bytes} bytes`);
});

test("a hole before a record that was flagged durable is damage, not a torn tail", () => {
  for (const formatIfNew of [1, 2] as const) {
    const disk = new SimDisk();
    const options = { segmentBytes: 1e6, formatIfNew };
    const { wal } = open(disk, options);
    const file = wal.file;
    const ends = [512];
    for (let index = 1; index <= 6; index++) {
      wal.append({ entries: [entry(index, 1, new Uint8Array(1500).fill(index))] });
      wal.sync();
      ends.push(disk.read(file).findLastIndex((byte) => byte !== 0) + 1);
    }
    const sound = disk.read(file);
    for (let hole = 1; hole <= 5; hole++) {
      for (const from of [ends[hole - 1] as number, (ends[hole - 1] as number) + 600]) {
        const bytes = Uint8Array.from(sound).fill(0, Math.ceil(from / 512) * 512, ends[hole]);
        disk.plant(file, bytes);
        const label = `version ${formatIfNew}, entry ${hole}, from ${from}`;
        if (formatIfNew === 1) {
          // Undetectable in that version; the log is truncated at the blank.
          assert(open(disk, options).recovery.entries.length < 6, label);
          continue;
        }
        assert.throws(() => open(disk, options), /has lost what was durable before the record at/);
        assert.throws(() => open(disk, options), CorruptRecordError);
        assert.deepEqual(Uint8Array.from(disk.read(file)), bytes, "nothing is changed");
      }
    }
  }
});

test("an entry's content is not taken for a record after a torn one", () => {
  const disk = new SimDisk();
  const { wal } = open(disk, { segmentBytes: 1e6 });
  fill(wal, 1, 2);
  // The header of a durable record, as could be copied from another member's log.
  const other = new SimDisk();
  const copy = open(other, { segmentBytes: 1e6 }).wal;
  fill(copy, 1, 2);
  const header = other.read(copy.file).slice(512, 528);
  const data = new Uint8Array(4096);
  for (let at = 0; at < data.length; at += 16) data.set(header, at);
  const at = disk.read(wal.file).findLastIndex((byte) => byte !== 0) + 1;
  wal.append({ entries: [entry(3, 1, data)] });
  disk.before = failOn("datasync", "EIO");
  assert.throws(() => wal.sync(), LogFailedError);
  disk.before = () => {};
  const bytes = disk.read(wal.file);
  bytes.fill(0, Math.ceil(at / 512) * 512, Math.ceil(at / 512) * 512 + 512);
  disk.plant(wal.file, bytes);
  assert.deepEqual(indexes(open(disk).recovery), [1, 2]);
});

test("a log continues in its own format until setFormat, then in a new segment", () => {
  const disk = new SimDisk();
  const { wal } = open(disk, { segmentBytes: 1e6, formatIfNew: 1 });
  fill(wal, 1, 3);
  const again = open(disk, { segmentBytes: 1e6 }).wal;
  assert.equal(again.format, 1);
  fill(again, 4, 5);
  assert.equal(again.segments.length, 1);
  again.append({ entries: [entry(6)] });
  again.setFormat(2);
  again.sync();
  assert.equal(again.segments.length, 1, "what has begun is written where it began");
  fill(again, 7, 9);
  assert.equal(again.segments.length, 2);
  again.setFormat(1);
  fill(again, 10, 11);
  assert.equal(again.segments.length, 2, "there is no way back");
  const versions = again.segments.map((file) => disk.read(file)[8]);
  assert.deepEqual(versions, [1, 2]);
  const last = open(disk, { segmentBytes: 1e6 });
  assert.equal(last.wal.format, 2);
  assert.deepEqual(indexes(last.recovery), range(1, 11));
});

test("no file descriptor for a new segment: sync() succeeds once there is one", () => {
  const disk = new SimDisk();
  const { wal } = open(disk);
  let index = 0;
  disk.before = failOn("create", "EMFILE");
  assert.throws(() => {
    for (;;) fill(wal, index + 1, ++index);
  }, LogFullError);
  disk.before = () => {};
  wal.sync();
  assert.deepEqual(indexes(open(disk).recovery), range(1, index));
});

test("calls that raft must never make end the thread", () => {
  const { wal } = open(new SimDisk());
  wal.append({ entries: [entry(1, 3)], hardState: { term: 3, vote: 1n, commit: 0 } });
  const mistakes: readonly (readonly [string, () => void])[] = [
    ["a gap", () => wal.append({ entries: [entry(3, 3)] })],
    ["a term that falls", () => wal.append({ entries: [entry(2, 2)] })],
    ["an older term", () => wal.setHardState({ term: 2, vote: 0n, commit: 0 })],
    ["a second vote", () => wal.setHardState({ term: 3, vote: 2n, commit: 0 })],
    ["a vote taken back", () => wal.setHardState({ term: 3, vote: 0n, commit: 0 })],
    ["an empty snapshot", () => wal.installSnapshot({ index: 0, term: 0 })],
  ];
  for (const [what, mistake] of mistakes) {
    assert.throws(mistake, { name: "AssertionError", message: /^Broken invariant/ }, what);
  }
  wal.setHardState({ term: 3, vote: 1n, commit: 1 });
  wal.setHardState({ term: 4, vote: 2n, commit: 1 });
  assert.deepEqual(wal.sync(), { index: 1, term: 3 });
});
