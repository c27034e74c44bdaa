import assert from "node:assert/strict";
import { test } from "node:test";
import { pino } from "pino";
import { envelopeBytes, MachineId, writeEnvelope } from "#ringd/cluster/envelope.js";
import { FORMAT_LEVEL, NewerFormatError } from "#ringd/cluster/format.js";
import { encodeSnapshotHead, NO_HEAD } from "#ringd/cluster/snapshot-head.js";
import { type Config, readConfig } from "#ringd/config/config.js";
import type { WalEntry } from "#ringd/messages/log-entry.js";
import { createTopology } from "#ringd/messages/topology.js";
import { Bell } from "#ringd/ring/bell.js";
import { Outlet } from "#ringd/ring/fragments.js";
import { poisonConsumed, RingWriter } from "#ringd/ring/ring.js";
import { snapshotName } from "#ringd/snap/format.js";
import { CorruptRecordError, DiskError, LogGapError } from "#ringd/storage/errors.js";
import { CommandOp, commandOf, raiseCommand } from "#ringd/store/command.js";
import { encodeCommand, encodedBytes } from "#ringd/store/command-codec.js";
import { SnapshotEncoder } from "#ringd/store/snapshot.js";
import { Store } from "#ringd/store/store.js";
import { newLogFormat } from "#ringd/wal/replay.js";
import { SimSnapshots, type SnapshotFile } from "../sim/member-snapshots.js";
import { startMember, unpacked } from "../sim/member-start.js";
import { Prng } from "../support/prng.js";
import { SimDisk } from "./sim-disk.js";

const MEMBER = { memberId: 0xan, clusterId: 0xcn };
const CONF = { voters: [0xan], learners: [] };
const RING_BYTES = 4096;

interface Place {
  readonly disk: SimDisk;
  readonly snapshots: SimSnapshots;
}

function place(): Place {
  return { disk: new SimDisk(), snapshots: new SimSnapshots() };
}

function configOf(formatLevel: number): Config {
  const request = readConfig(["--name", "a", "--data-dir", "/sim"], {});
  assert.equal(request.kind, "run");
  return { ...(request as { config: Config }).config, formatLevel };
}

/** Starts a member, both threads, over small poisoning rings. */
function start({ disk, snapshots }: Place, formatLevel = FORMAT_LEVEL) {
  const config = configOf(formatLevel);
  const ring = RING_BYTES;
  const sizes = { requests: ring, responses: ring, append: ring, jobs: ring, peer: ring };
  const topology = createTopology(config, { ...sizes, durable: ring, outcomes: ring });
  poisonConsumed(topology.durable);
  const durable = new Outlet(new RingWriter(topology.durable, new Bell(topology.coreBell)));
  const saved: bigint[] = [];
  const begins = disk.list().length === 0;
  const started = startMember({
    ...{ name: "a", config, disk, snapshots, topology, durable },
    plan: begins ? { kind: "found", ...MEMBER, members: [] } : undefined,
    packEntries: 4,
    walOptions: { segmentBytes: 64 * 1024, zeroAheadBytes: 4096, salt: () => 7 },
    saveIdentity: ({ memberId }) => saved.push(memberId),
    prng: new Prng(5),
    log: pino({ level: "silent" }),
  });
  assert.deepEqual(saved, [MEMBER.memberId]);
  assert.equal(durable.queuedBytes, 0);
  return { wal: started.wal, found: unpacked(started.found) };
}

function entry(index: number, term: number, bytes = 0): WalEntry {
  return { index, term, type: 0, data: new Uint8Array(bytes).fill(index & 1) };
}

/** A snapshot of a store with `keys` keys. */
function snapshot(index: number, term: number, keys: number): SnapshotFile {
  const store = new Store({ historyEventsMax: 10 });
  for (let i = 0; i < keys; i++) {
    store.apply(commandOf(CommandOp.set, `/1/k${i}`, `${index}`.padEnd(200, "x"), 1));
  }
  const blocks: Uint8Array[] = [];
  const encoder = new SnapshotEncoder(store);
  for (let block = encoder.next(); block !== undefined; block = encoder.next()) blocks.push(block);
  return { index, term, metadata: encodeSnapshotHead(CONF, NO_HEAD), blocks };
}

/** A log of entries 1 to `last`. */
function withLog(last: number, bytes = 0): Place {
  const at = place();
  const { wal } = start(at);
  const entries = Array.from({ length: last }, (_, i) => entry(i + 1, 1, bytes));
  wal.append({ entries, hardState: { term: 1, vote: 0xan, commit: last } });
  wal.sync();
  wal.close();
  return at;
}

test("a first start begins with an empty log and the plan's identity", () => {
  const { found } = start(place());
  const { memberId, clusterId, snapshot: meta, entries, hardState, store } = found;
  assert.deepEqual({ memberId, clusterId }, MEMBER);
  assert.deepEqual([meta.index, entries.length, hardState.term, store.index], [0, 0, 0, 0]);
  assert.equal(newLogFormat("found", FORMAT_LEVEL), 2);
  assert.equal(newLogFormat("join", FORMAT_LEVEL), 1);
  assert.equal(newLogFormat(undefined, 1), 1);
});

test("entries larger than the ring, and more than may be queued, reach the core complete", () => {
  const at = withLog(300, 16);
  const { wal } = start(at);
  wal.append({ entries: [entry(301, 2, 3 * RING_BYTES), entry(302, 2, 700)] });
  wal.sync();
  const { found } = start(at);
  assert.deepEqual(
    found.entries.map(({ index }) => index),
    Array.from({ length: 302 }, (_, i) => i + 1),
  );
  assert.deepEqual(found.entries[300]?.data.length, 3 * RING_BYTES);
  for (const { index, data } of found.entries)
    assert.ok(data.every((byte) => byte === (index & 1)));
  assert.deepEqual(found.hardState, { term: 2, vote: 0n, commit: 300 });
});

test("a start uses the newest snapshot by index, and removes unfinished ones", () => {
  const at = withLog(30);
  at.snapshots.add(snapshot(9, 1, 90));
  at.snapshots.add(snapshot(20, 1, 100));
  at.snapshots.add(snapshot(12, 1, 3));
  at.snapshots.leave({ index: 25, term: 1 });
  const { found } = start(at);
  assert.deepEqual(found.snapshot, { index: 20, term: 1, conf: CONF });
  assert.equal(found.entries[0]?.index, 21);
  assert.equal(found.entries.length, 10);
  found.store.checkInvariants();
  assert.equal(found.store.index, 100);
  assert.deepEqual(
    [...at.snapshots.list()].sort(),
    [9, 12, 20].map((index) => snapshotName({ index, term: 1 })),
  );
});

test("a log that ends before the snapshot, or contradicts it, restarts after it", () => {
  for (const made of [snapshot(40, 3, 1), snapshot(20, 3, 1)]) {
    const at = withLog(30);
    at.snapshots.add(made);
    const { wal, found } = start(at);
    assert.deepEqual(found.entries, []);
    assert.deepEqual(found.hardState, { term: 3, vote: 0n, commit: made.index });
    assert.deepEqual(wal.last, { index: made.index, term: 3 });
    assert.ok(at.disk.isDurable);
    assert.deepEqual(start(at).found.entries, []);
  }
});

test("a torn tail is truncated, and acknowledged entries before it stay", () => {
  const at = withLog(30, 100);
  const { wal } = start(at);
  wal.append({ entries: [entry(31, 1, 2000)] });
  const step = at.disk.steps.length;
  wal.sync();
  assert.ok(at.disk.steps.length > step);
  const bytes = at.disk.read(wal.file);
  const end = bytes.findLastIndex((byte) => byte !== 0);
  const blank = end - (end % 512);
  at.disk.plant(wal.file, bytes.fill(0, blank - 512));
  const { found } = start(at);
  assert.equal(found.entries.at(-1)?.index, 30);
});

/** @returns the files' content */
function filesOf({ disk }: Place): Map<string, string> {
  return new Map(
    disk.list().map((name) => [name, Buffer.from(disk.read(name)).toString("base64")]),
  );
}

test("data that only a newer build reads fails the start, and nothing is changed", () => {
  const at = withLog(3);
  const { wal } = start(at);
  const command = raiseCommand(9, "9.9.0", 0);
  const data = Buffer.alloc(envelopeBytes(2) + encodedBytes(command));
  const view = new DataView(data.buffer, data.byteOffset, data.length);
  writeEnvelope(view, 0, 2, MachineId.v2Store, 0xan, 1);
  encodeCommand(command, data, view, envelopeBytes(2));
  wal.append({ entries: [{ index: 4, term: 1, type: 0, data }] });
  wal.sync();
  const before = filesOf(at);
  assert.throws(() => start(at), NewerFormatError);
  assert.deepEqual(filesOf(at), before);

  const other = withLog(3);
  const head = { format: 9, readBy: "9.9.0", voters: ["a"], learners: [] };
  const metadata = Buffer.from(JSON.stringify(head));
  other.snapshots.add({ ...snapshot(2, 1, 1), metadata });
  assert.throws(() => start(other), /the snapshot.*ringd 9\.9\.0 or later/);
});

test("a snapshot that cannot be read to its end leaves the log unchanged, even if it is ahead", () => {
  const at = withLog(30);
  const made = snapshot(40, 3, 50);
  at.snapshots.add(made);
  const before = filesOf(at);
  at.snapshots.failsAfter = made.blocks.length;
  assert.throws(() => start(at), DiskError);
  assert.deepEqual(filesOf(at), before);
  assert.equal(start(at).found.snapshot.index, 40);
});

test("damage and gaps fail the start", () => {
  const at = withLog(30, 600);
  const [file = ""] = at.disk.list();
  at.disk.flipBit(file, 4100, 3);
  assert.throws(() => start(at), CorruptRecordError);
  const gone = withLog(3);
  gone.snapshots.add(snapshot(2, 1, 1));
  for (const name of gone.disk.list()) gone.disk.remove(name);
  assert.throws(() => start(gone), LogGapError);
});
