import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { writeBytes } from "#ringd/messages/log.js";
import {
  JobType,
  OutcomeType,
  readFailed,
  readSaved,
  writeSnapshotJob,
} from "#ringd/messages/pool.js";
import { Bell } from "#ringd/ring/bell.js";
import { Inlet, Outlet } from "#ringd/ring/fragments.js";
import { createRing, RingReader, RingWriter, ringDepthBytes } from "#ringd/ring/ring.js";
import { listSnapshots } from "#ringd/snap/writer.js";
import { PoolLoop, runJob } from "#ringd/thread/pool-worker.js";

const NOTHING = new Uint8Array(0);

/**
 * The core's ends of both rings. Jobs are written before the pool reads, so that it never waits.
 */
function setUp(t: TestContext) {
  const root = mkdtempSync(join(tmpdir(), "ringd-pool-"));
  t.after(() => rmSync(root, { recursive: true }));
  const snapDir = join(root, "snap");
  mkdirSync(snapDir);
  const topology = {
    ...{ jobs: createRing(65_536), outcomes: createRing(4096) },
    ...{ poolBell: Bell.create(), coreBell: Bell.create() },
  };
  const poolBell = new Bell(topology.poolBell);
  const jobs = new Outlet(new RingWriter(topology.jobs, poolBell));
  const seen: object[] = [];
  const outcomes = Inlet.withCursor<OutcomeType>(
    new RingReader(topology.outcomes, poolBell),
    (record) => {
      if (record.type === OutcomeType.saved) seen.push(readSaved(record));
      else seen.push(readFailed(record));
    },
  );
  return {
    ...{ snapDir, topology, jobs },
    head: (index: number) =>
      writeSnapshotJob(jobs, { term: 1, index, formatLevel: 1, metadata: Buffer.from("{}") }),
    record: (type: number) => writeBytes(jobs, type, NOTHING),
    block: () => writeBytes(jobs, JobType.block, Buffer.from("a block")),
    /** As piscina does. */
    run: () => {
      jobs.publish();
      runJob({ topology, snapDir, maxSnapshots: 2 });
    },
    takeOutcomes: () => {
      outcomes.drain(Number.POSITIVE_INFINITY);
      return seen.splice(0);
    },
    files: () => listSnapshots(snapDir).map(({ index }) => index),
  };
}

test("a job writes one file, and its outcome has the index from which the log is needed", (t) => {
  const { head, block, record, run, takeOutcomes, files } = setUp(t);
  for (const [index, oldest, kept] of [
    [5, 5, [5]],
    [6, 5, [5, 6]],
    [7, 6, [6, 7]],
  ] as const) {
    head(index);
    block();
    block();
    record(JobType.end);
    run();
    const [outcome, ...others] = takeOutcomes() as {
      oldestIndex: number;
      flushSeconds: number[];
    }[];
    assert.deepEqual(others, []);
    assert.equal(outcome?.oldestIndex, oldest);
    assert.equal(outcome?.flushSeconds.length, 1);
    assert.deepEqual(files(), kept);
  }
});

test("a job whose disk fails drains its rest from the ring and reports the reason; the next one is written", (t) => {
  const { snapDir, topology, head, block, record, run, takeOutcomes, files } = setUp(t);
  rmSync(snapDir, { recursive: true });
  head(8);
  block();
  record(JobType.end);
  run();
  const [failed] = takeOutcomes() as { isForWant: boolean; why: string }[];
  assert.match(failed?.why ?? "", /^ENOENT on create of .*snap\.tmp$/);
  assert.equal(failed?.isForWant, false);
  assert.equal(ringDepthBytes(topology.jobs), 0);
  mkdirSync(snapDir);
  head(9);
  record(JobType.end);
  run();
  assert.deepEqual(files(), [9]);
});

test("a thread reads its own job and leaves the next one in the ring", (t) => {
  const { head, block, record, run, takeOutcomes, files } = setUp(t);
  for (const index of [8, 9]) {
    head(index);
    block();
    record(JobType.end);
  }
  run();
  assert.equal(takeOutcomes().length, 1);
  assert.deepEqual(files(), [8]);
  run();
  assert.equal(takeOutcomes().length, 1);
  assert.deepEqual(files(), [8, 9]);
});

test("only the end of a job finishes it: a record of an unknown type ends the thread", (t) => {
  const { snapDir, head, block, record, run, takeOutcomes, files } = setUp(t);
  head(9);
  block();
  record(4);
  record(JobType.end);
  assert.throws(run, /Broken invariant: no such case: 4/);
  assert.deepEqual(takeOutcomes(), []);
  assert.deepEqual(files(), []);
  assert.equal(readdirSync(snapDir).length, 1, "the temporary file is removed at the next start");
});

for (const [what, types] of [
  ["a block without a head", [JobType.block]],
  ["an end without a head", [JobType.end]],
] as const) {
  test(`${what} ends the thread`, (t) => {
    const { record, run } = setUp(t);
    for (const type of types) record(type);
    assert.throws(run, /Broken invariant/);
  });
}

test("a head within a job ends the thread", (t) => {
  const { head, run } = setUp(t);
  head(8);
  head(9);
  assert.throws(run, /Broken invariant: a job ends before the next one begins/);
});

test("a job is done once all of its outcome is published, however long it is", (t) => {
  const { topology, jobs, head, record, takeOutcomes } = setUp(t);
  const flushSeconds = Array.from({ length: 2000 }, (_, i) => i / 1000);
  const coreBell = new Bell(topology.coreBell);
  let nowMs = 1000;
  const loop = new PoolLoop({
    jobs: new RingReader(topology.jobs, coreBell),
    outcomes: new RingWriter(topology.outcomes, coreBell),
    beginSnapshot: () => ({
      block: () => assert.fail("there is none"),
      finish: () => ({ kind: "saved", oldestIndex: 3, flushSeconds, unremoved: "" }),
    }),
    monoMs: () => nowMs,
  });
  head(8);
  jobs.publish();
  assert.ok(loop.turn());
  nowMs += 2500;
  record(JobType.end);
  jobs.publish();
  assert.ok(loop.turn());
  const seen: unknown[] = [];
  for (let turns = 0; !loop.isDone; turns++) {
    assert.ok(turns < 100, "it makes room");
    seen.push(...takeOutcomes());
    loop.turn();
  }
  seen.push(...takeOutcomes());
  assert.deepEqual(seen, [{ oldestIndex: 3, seconds: 2.5, flushSeconds, unremoved: "" }]);
});
