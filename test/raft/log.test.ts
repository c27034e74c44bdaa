import assert from "node:assert/strict";
import { test } from "node:test";
import { type Entry, EntryType } from "#ringd/raft/entry.js";
import { RaftLog } from "#ringd/raft/log.js";
import { PACKED_BYTES_MAX, PackedEntries } from "#ringd/raft/packed-entries.js";
import { Prng } from "../support/prng.js";
import { SEED } from "../support/seed.js";

const NO_LIMIT = 1_000_000;

function entryAt(index: number, term: number, prng: Prng): Entry {
  const type = prng.oneIn(5) ? EntryType.confChange : EntryType.normal;
  return {
    index,
    term,
    type,
    data: Uint8Array.from({ length: prng.below(20) }, () => index & 255),
  };
}

/** Everything that a log returns about its entries. */
function contentOf(log: RaftLog): Entry[] {
  return log
    .slice(log.base.index + 1, log.lastIndex, NO_LIMIT, NO_LIMIT)
    .map((entry) => ({ ...entry, data: Uint8Array.from(entry.data) }));
}

test("a log returns the same entries, packed or not", () => {
  const prng = new Prng(SEED);
  const packEntries = 1 + prng.below(6);
  const packed = new PackedEntries(8, packEntries);
  const log = new RaftLog({ index: 7, term: 1 }, packed, [], 7, 7);
  let model: Entry[] = [];
  let term = 1;
  for (let step = 0; step < 3000; step++) {
    const action = prng.below(6);
    if (action <= 1) {
      if (prng.oneIn(10)) term++;
      const entry = entryAt(log.lastIndex + 1, term, prng);
      log.push(entry);
      model.push(entry);
    } else if (action === 2) {
      log.takeUnwritten();
      const index = log.durable + prng.below(log.lastIndex - log.durable + 1);
      log.durableTo({ index, term: log.term(index) as number });
    } else if (action === 3) {
      log.commitTo(log.commit + prng.below(log.lastIndex - log.commit + 1));
      const taken = log.takeCommitted(1 + prng.below(5), NO_LIMIT);
      const first = log.handedOut - taken.length + 1;
      const from = first - log.base.index - 1;
      assert.deepEqual(taken, model.slice(from, from + taken.length), `SEED=${SEED}`);
      log.appliedTo(log.handedOut);
    } else if (action === 4 && prng.oneIn(4)) {
      const most = Math.min(log.applied, log.durable);
      const index = log.base.index + prng.below(Math.max(most - log.base.index, 0) + 1);
      model = model.filter((entry) => entry.index > index);
      log.compactTo(index);
    } else if (log.lastIndex > log.commit && prng.oneIn(4)) {
      const index = log.commit + 1 + prng.below(log.lastIndex - log.commit);
      const entry = entryAt(index, ++term, prng);
      log.merge([entry]);
      model = [...model.filter((old) => old.index < index), entry];
    } else if (prng.oneIn(60)) {
      const index = log.commit + 1 + prng.below(20);
      log.restoreTo({ index, term: ++term });
      model = [];
    }
    log.assertInvariants();
    assert.equal(log.lastTerm, model.at(-1)?.term ?? log.base.term, `SEED=${SEED}`);
    assert.deepEqual(contentOf(log), model, `SEED=${SEED}`);
    const some = prng.pick(model.length > 0 ? model : [undefined]);
    if (some !== undefined) assert.deepEqual(log.entry(some.index), some, `SEED=${SEED}`);
  }
});

test("an entry that comes back after it was replaced is durable once the disk has it again", () => {
  const prng = new Prng(SEED);
  const log = new RaftLog({ index: 0, term: 0 }, new PackedEntries(1, 4), [], 0, 0);
  const entry = entryAt(1, 1, prng);
  log.merge([entry]);
  log.takeUnwritten();
  log.merge([entryAt(1, 2, prng)]);
  log.merge([entry]);
  log.durableTo(entry);
  log.assertInvariants();
  assert.equal(log.durable, 0);
  log.takeUnwritten();
  log.durableTo(entry);
  assert.equal(log.durable, 1);
});

test("a slice holds as many bytes as allowed, and at least one entry", () => {
  const entries = Array.from({ length: 10 }, (_, i) => ({
    ...{ index: i + 1, term: 1, type: EntryType.normal },
    data: new Uint8Array(10),
  }));
  const log = new RaftLog({ index: 0, term: 0 }, new PackedEntries(1, 4), entries, 10, 0);
  log.takeCommitted(6, NO_LIMIT);
  log.appliedTo(6); // Packs four of them.
  const sizes = (bytesMax: number) =>
    Array.from({ length: 10 }, (_, i) => log.slice(i + 1, 10, NO_LIMIT, bytesMax).length);
  assert.deepEqual(sizes(0), Array(10).fill(1));
  assert.deepEqual(sizes(35), [3, 3, 3, 3, 3, 3, 3, 3, 2, 1]);
  assert.equal(log.slice(3, 10, 2, NO_LIMIT).length, 2);
});

test("a log goes on behind entries that were packed before it", () => {
  const entries = Array.from({ length: 11 }, (_, i) => ({
    ...{ index: i + 4, term: 1 + (i >> 2), type: EntryType.normal },
    data: Uint8Array.of(i),
  }));
  const packed = new PackedEntries(4, 4);
  packed.push(entries.slice(0, 4));
  packed.push(entries.slice(4, 8));
  const log = new RaftLog({ index: 3, term: 1 }, packed, entries.slice(8), 13, 3);
  log.assertInvariants();
  assert.deepEqual(contentOf(log), entries);
  assert.deepEqual([log.applied, log.commit, log.lastIndex, log.lastTerm], [3, 13, 14, 3]);
  const taken = [...log.takeCommitted(7, NO_LIMIT), ...log.takeCommitted(7, NO_LIMIT)];
  assert.deepEqual(
    taken.map(({ index }) => index),
    [4, 5, 6, 7, 8, 9, 10, 11, 12, 13],
  );
  log.appliedTo(13);
  log.merge([{ index: 14, term: 9, type: EntryType.normal, data: Uint8Array.of(9) }]);
  log.compactTo(9);
  log.assertInvariants();
  assert.deepEqual([log.base, log.lastTerm], [{ index: 9, term: 2 }, 9]);
});

test("long data are packed without being copied", () => {
  const sizes = [10, PACKED_BYTES_MAX + 1, 0, PACKED_BYTES_MAX, 2 * PACKED_BYTES_MAX, 7, 8, 9];
  const entries = sizes.map((size, i) => ({
    ...{ index: i + 1, term: 1, type: EntryType.normal },
    data: new Uint8Array(size).fill(i + 1),
  }));
  const log = new RaftLog({ index: 0, term: 0 }, new PackedEntries(1, 4), entries.slice(), 8, 0);
  log.takeCommitted(8, NO_LIMIT);
  log.appliedTo(8);
  for (const { index, data } of entries) {
    const packed = log.entry(index).data;
    assert.ok(Buffer.from(data).equals(packed), `entry ${index}`);
    assert.equal(packed.buffer === data.buffer, data.length > PACKED_BYTES_MAX, `entry ${index}`);
    const alone = log.slice(index, 8, NO_LIMIT, data.length + (sizes[index] ?? 0) - 1);
    assert.equal(alone.length, 1, `bytes of entry ${index} and the next`);
  }
});
