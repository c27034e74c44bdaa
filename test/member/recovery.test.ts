import assert from "node:assert/strict";
import { test } from "node:test";
import { encodeSnapshotHead, NO_HEAD } from "#ringd/cluster/snapshot-head.js";
import { AssertionError } from "#ringd/lib/assert.js";
import { RecoveryReader } from "#ringd/member/recovery.js";
import {
  DurableType,
  writeBytes,
  writeEntry,
  writeHardState,
  writeSnapshotHead,
} from "#ringd/messages/log.js";
import { writeNumbers } from "#ringd/messages/numbers.js";
import type { Entry } from "#ringd/raft/entry.js";
import { Bell } from "#ringd/ring/bell.js";
import { Inlet, Outlet } from "#ringd/ring/fragments.js";
import { createRing, poisonConsumed, RingReader, RingWriter } from "#ringd/ring/ring.js";
import { SnapshotDecodeError, SnapshotEncoder } from "#ringd/store/snapshot.js";
import { Store } from "#ringd/store/store.js";

type Step = (outlet: Outlet) => void;

const identity: Step = (outlet) => {
  outlet.open(16);
  outlet.view.setBigUint64(outlet.at, 0xan, true);
  outlet.view.setBigUint64(outlet.at + 8, 0xcn, true);
  outlet.close(DurableType.identity, 16);
};
const entry =
  (index: number, term = 1): Step =>
  (outlet) =>
    writeEntry(outlet, DurableType.entry, {
      ...{ index, term, type: 0 },
      data: Buffer.from(`entry ${index}`),
    });
const recovered =
  (commit: number, term = 1): Step =>
  (outlet) =>
    writeHardState(outlet, DurableType.recovered, { term, vote: 0n, commit });
const head =
  (index: number, term = 1): Step =>
  (outlet) => {
    const metadata = encodeSnapshotHead({ voters: [0xan], learners: [] }, NO_HEAD);
    writeSnapshotHead(outlet, { term, index, metadata });
  };
const blocks: Step = (outlet) => {
  const encoder = new SnapshotEncoder(new Store({}));
  for (let block = encoder.next(); block !== undefined; block = encoder.next()) {
    writeBytes(outlet, DurableType.snapshotBlock, block);
  }
};
const end: Step = (outlet) => writeBytes(outlet, DurableType.snapshotEnd, new Uint8Array(0));

function reading(steps: readonly Step[]) {
  const memory = createRing(4096);
  poisonConsumed(memory);
  const bell = new Bell(Bell.create());
  const outlet = new Outlet(new RingWriter(memory, bell));
  for (const step of steps) step(outlet);
  outlet.publish();
  const reader = new RecoveryReader(new RingReader(memory, bell), {}, 2, 2);
  return { memory, bell, reader };
}

const textOf = ({ index, term, data }: Entry) => `${index} ${term} ${Buffer.from(data).toString()}`;

function recover(...steps: readonly Step[]) {
  const { reader } = reading(steps);
  while (!reader.isDone && reader.turn());
  return reader.finish();
}

test("a recovery holds all records, as copies and not views of the ring", () => {
  const found = recover(
    head(4, 2),
    blocks,
    end,
    identity,
    entry(5, 2),
    entry(6, 3),
    entry(7, 3),
    recovered(6, 3),
  );
  assert.deepEqual([found.packed.first, found.packed.end], [5, 7]);
  assert.deepEqual([found.packed.entry(5), found.packed.entry(6), ...found.entries].map(textOf), [
    "5 2 entry 5",
    "6 3 entry 6",
    "7 3 entry 7",
  ]);
  assert.deepEqual(found.snapshot, { index: 4, term: 2, conf: { voters: [0xan], learners: [] } });
  assert.deepEqual(found.hardState, { term: 3, vote: 0n, commit: 6 });
  assert.deepEqual([found.memberId, found.clusterId], [0xan, 0xcn]);
});

test("entries that are not committed are not packed, as a leader may replace them", () => {
  const entries = [1, 2, 3, 4, 5, 6, 7].map((index) => entry(index));
  for (const [commit, end] of [
    [7, 7],
    [6, 7],
    [5, 5],
    [1, 1],
    [0, 1],
  ] as const) {
    const found = recover(identity, ...entries, recovered(commit));
    assert.deepEqual([found.packed.first, found.packed.end], [1, end]);
    assert.deepEqual(
      found.entries.map(({ index }) => index),
      [1, 2, 3, 4, 5, 6, 7].slice(end - 1),
    );
    assert.ok(found.entries.every((one) => textOf(one).endsWith(`entry ${one.index}`)));
  }
});

test("records after the recovery stay in the ring, for the member's loop", () => {
  const failed: Step = (outlet) => writeBytes(outlet, DurableType.failed, Buffer.from("gone"));
  const { memory, bell, reader } = reading([identity, recovered(0, 0), failed]);
  assert.ok(reader.turn());
  assert.ok(reader.isDone);
  const later: string[] = [];
  const inlet = Inlet.withCursor(new RingReader(memory, bell), (record) =>
    later.push(`${record.type} ${record.utf8(0)}`),
  );
  assert.equal(inlet.drain(10), 1);
  assert.deepEqual(later, [`${DurableType.failed} gone`]);
});

test("records out of order, gaps and records that do not belong to a start end the thread", () => {
  const durable: Step = (outlet) => writeNumbers(outlet, DurableType.durable, 1);
  const unknown: Step = (outlet) => writeNumbers(outlet, 99);
  const wrong: Readonly<Record<string, readonly Step[]>> = {
    "an entry before the identity": [entry(1)],
    "two identities": [identity, identity],
    "a gap": [identity, entry(1), entry(3)],
    "an entry that the snapshot holds": [head(4), blocks, end, identity, entry(4)],
    "an entry that does not follow the snapshot": [head(4), blocks, end, identity, entry(6)],
    "a term that falls": [identity, entry(1, 2), entry(2, 1)],
    "a commit index beyond the log": [identity, entry(1), recovered(2)],
    "a commit index before the snapshot": [head(4), blocks, end, identity, recovered(3)],
    "a term older than the last entry's": [identity, entry(1, 2), recovered(1, 1)],
    "no identity": [recovered(0)],
    "two snapshots": [head(4), blocks, end, head(5)],
    "a snapshot after the log": [identity, head(4)],
    "a snapshot without its end": [head(4), blocks, identity],
    "blocks of no snapshot": [blocks],
    "a job that is durable": [identity, durable],
    "a type that nobody knows": [unknown],
  };
  for (const [what, steps] of Object.entries(wrong)) {
    assert.throws(() => recover(...steps), AssertionError, what);
  }
  assert.throws(() => recover(identity), AssertionError, "an end before everything came");
  assert.throws(() => recover(head(4), end), SnapshotDecodeError, "a snapshot without blocks");
});
