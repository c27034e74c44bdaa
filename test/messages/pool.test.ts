import assert from "node:assert/strict";
import { test } from "node:test";
import {
  JobType,
  OutcomeType,
  readFailed,
  readSaved,
  readSnapshotJob,
  writeFailed,
  writeSaved,
  writeSnapshotJob,
} from "#ringd/messages/pool.js";
import { Bell } from "#ringd/ring/bell.js";
import { Inlet, Outlet } from "#ringd/ring/fragments.js";
import type { RecordCursor } from "#ringd/ring/record-cursor.js";
import { createRing, poisonConsumed, RingReader, RingWriter } from "#ringd/ring/ring.js";
import { Prng } from "../support/prng.js";
import { SEED } from "../support/seed.js";

const RECORDS = 200;

/** Sends one message through a ring that is smaller than long ones. */
function across<T extends number, V>(
  write: (outlet: Outlet) => void,
  read: (record: RecordCursor<T>) => V,
): V {
  const ring = createRing(4096);
  poisonConsumed(ring);
  const bell = new Bell(Bell.create());
  const outlet = new Outlet(new RingWriter(ring, bell));
  let value: V | undefined;
  const inlet = Inlet.withCursor<T>(new RingReader(ring, bell), (record) => {
    value = read(record);
  });
  write(outlet);
  do outlet.publish();
  while (inlet.drain(1) > 0);
  assert.ok(value !== undefined, "the message arrived");
  return value;
}

test(`heads of snapshot jobs pass the ring unchanged, SEED=${SEED}`, () => {
  const prng = new Prng(SEED);
  for (let i = 0; i < RECORDS; i++) {
    const metadata = Buffer.from(Array.from({ length: prng.below(3000) }, () => prng.below(256)));
    const index = prng.below(2 ** 30) * 2 ** 20;
    const head = { term: prng.below(2 ** 30), index, formatLevel: prng.below(4), metadata };
    const read = across<JobType, unknown>(
      (outlet) => writeSnapshotJob(outlet, head),
      (record) => {
        assert.equal(record.type, JobType.snapshot);
        return readSnapshotJob(record);
      },
    );
    assert.deepEqual(read, head);
  }
});

test(`outcomes pass the ring unchanged, SEED=${SEED}`, () => {
  const prng = new Prng(SEED);
  const seconds = () => prng.below(1_000_000) / 1000;
  for (let i = 0; i < RECORDS; i++) {
    const flushSeconds = Array.from({ length: prng.below(300) }, seconds);
    const unremoved = "ä".repeat(prng.below(3));
    const saved = {
      ...{ oldestIndex: prng.below(2 ** 31), seconds: seconds(), flushSeconds, unremoved },
    };
    const readBack = across<OutcomeType, unknown>(
      (outlet) => writeSaved(outlet, saved),
      (record) => {
        assert.equal(record.type, OutcomeType.saved);
        return readSaved(record);
      },
    );
    assert.deepEqual(readBack, saved);
    const why = `EIO on write of /däta/${"x".repeat(prng.below(2000))}`;
    const failed = { isForWant: prng.below(2) === 1, why };
    const failedBack = across<OutcomeType, unknown>(
      (outlet) => writeFailed(outlet, failed),
      (record) => {
        assert.equal(record.type, OutcomeType.failed);
        return readFailed(record);
      },
    );
    assert.deepEqual(failedBack, failed);
  }
});
