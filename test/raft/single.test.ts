import assert from "node:assert/strict";
import { test } from "node:test";
import { blank, bootstrap } from "#ringd/raft/bootstrap.js";
import { decodeConfChange } from "#ringd/raft/conf-change.js";
import type { Restored } from "#ringd/raft/options.js";
import { Raft, type Ready } from "#ringd/raft/raft.js";

const bytes = (text: string) => new TextEncoder().encode(text);

function member(restored: Restored): Raft {
  return new Raft({
    id: 1n,
    electionTicks: 10,
    heartbeatTicks: 1,
    preVote: true,
    checkQuorum: true,
    random: () => 0,
    restored,
  });
}

function apply(raft: Raft, ready: Ready): string[] {
  for (const entry of ready.committed) {
    if (entry.type === 1) raft.applyConfChange(decodeConfChange(entry.data));
    raft.applied(entry.index);
  }
  return ready.committed.map((entry) => `${entry.index}/${entry.term}`);
}

function next(raft: Raft): Ready {
  const ready = raft.ready();
  assert.ok(ready !== undefined);
  raft.checkInvariants();
  return ready;
}

/** Bootstraps a cluster of one and lets it lead: entries 1 (itself) and 2 (the term's first). */
function leaderOfOne(): Raft {
  const raft = member(bootstrap([{ id: 1n, context: bytes("url") }]));
  assert.deepEqual(apply(raft, next(raft)), ["1/1"]);
  assert.equal(raft.ready(), undefined);
  assert.equal(raft.campaign(), true);
  raft.durable(next(raft).append?.job ?? 0);
  raft.durable(next(raft).append?.job ?? 0);
  assert.deepEqual(apply(raft, next(raft)), ["2/2"]);
  assert.equal(raft.hasReady(), false);
  return raft;
}

test("a single voter leads only after its vote for itself is durable", () => {
  const raft = member(bootstrap([{ id: 1n, context: bytes("url") }]));
  apply(raft, next(raft));
  raft.campaign();
  const vote = next(raft);
  assert.deepEqual(vote.append?.hardState, { term: 2, vote: 1n, commit: 1 });
  assert.equal(raft.role, "candidate");
  assert.equal(raft.ready(), undefined);
  raft.durable(vote.append?.job ?? 0);
  assert.equal(raft.role, "leader");
  const noop = next(raft);
  assert.deepEqual(noop.softState, { role: "leader", lead: 1n, term: 2 });
  assert.deepEqual(
    noop.append?.entries.map((entry) => entry.data.length),
    [0],
  );
});

test("a single voter commits exactly what durable() covers", () => {
  const raft = leaderOfOne();
  const first = raft.propose(bytes("a"));
  assert.deepEqual(first, { kind: "appended", index: 3, term: 2 });
  const one = next(raft);
  raft.propose(bytes("b"));
  raft.propose(bytes("c"));
  const two = next(raft);
  assert.deepEqual([one.append?.job, two.append?.job], [3, 4]);
  assert.deepEqual(one.committed, []);
  assert.deepEqual(two.committed, []);
  raft.durable(3);
  assert.deepEqual(apply(raft, next(raft)), ["3/2"]);
  raft.durable(4);
  assert.deepEqual(apply(raft, next(raft)), ["4/2", "5/2"]);
  assert.equal(raft.ready(), undefined);
});

test("one report for the newest job covers the jobs before it", () => {
  const raft = leaderOfOne();
  raft.propose(bytes("a"));
  next(raft);
  raft.propose(bytes("b"));
  raft.durable(next(raft).append?.job ?? 0);
  assert.deepEqual(apply(raft, next(raft)), ["3/2", "4/2"]);
});

test("a single voter confirms reads at once, with its commit index", () => {
  const raft = leaderOfOne();
  raft.readIndex(7);
  raft.readIndex(8);
  assert.deepEqual(next(raft).readStates, [
    { ctx: 7, index: 2 },
    { ctx: 8, index: 2 },
  ]);
});

test("reads wait until the leader has committed an entry of its term", () => {
  const raft = member(bootstrap([{ id: 1n, context: bytes("url") }]));
  raft.readIndex(1);
  apply(raft, next(raft));
  raft.campaign();
  raft.durable(next(raft).append?.job ?? 0);
  const noop = next(raft);
  assert.deepEqual(noop.readStates, []);
  raft.durable(noop.append?.job ?? 0);
  assert.deepEqual(next(raft).readStates, [{ ctx: 1, index: 2 }]);
});

test("a restart keeps term and log, and commits the rest of it in the next term", () => {
  const restored = bootstrap([{ id: 1n, context: bytes("url") }]);
  const raft = member({
    ...restored,
    hardState: { term: 4, vote: 1n, commit: 1 },
    entries: [...restored.entries, { index: 2, term: 4, type: 0, data: bytes("x") }],
  });
  assert.deepEqual(apply(raft, next(raft)), ["1/1"]);
  raft.campaign();
  raft.durable(next(raft).append?.job ?? 0);
  raft.durable(next(raft).append?.job ?? 0);
  assert.deepEqual(apply(raft, next(raft)), ["2/4", "3/5"]);
});

test("entries without the hard state of their disk job still raise the term", () => {
  const restored = bootstrap([{ id: 1n, context: bytes("url") }]);
  const raft = member({
    ...restored,
    entries: [...restored.entries, { index: 2, term: 9, type: 0, data: bytes("x") }],
  });
  assert.equal(raft.term, 9);
  assert.deepEqual(next(raft).append?.hardState, { term: 9, vote: 0n, commit: 1 });
});

test("a member that knows no members never campaigns", () => {
  const raft = member(blank());
  for (let i = 0; i < 100; i++) raft.tick();
  assert.equal(raft.campaign(), false);
  assert.deepEqual(raft.propose(bytes("x")), { kind: "refused", reason: "noLeader" });
  assert.equal(raft.ready(), undefined);
});

test("proposals beyond the limit are rejected until earlier ones commit", () => {
  const restored = bootstrap([{ id: 1n, context: bytes("") }]);
  const raft = new Raft({
    id: 1n,
    electionTicks: 10,
    heartbeatTicks: 1,
    preVote: true,
    checkQuorum: true,
    random: () => 0,
    restored,
    limits: { uncommittedBytesMax: 4 },
  });
  apply(raft, next(raft));
  raft.campaign();
  raft.durable(next(raft).append?.job ?? 0);
  assert.equal(raft.propose(bytes("1234")).kind, "appended");
  assert.deepEqual(raft.propose(bytes("5")), { kind: "refused", reason: "tooMany" });
  raft.durable(next(raft).append?.job ?? 0);
  assert.equal(raft.propose(bytes("5")).kind, "appended");
});

test("compaction keeps the tail and the term of what it dropped", () => {
  const raft = leaderOfOne();
  for (const text of ["a", "b", "c", "d"]) raft.propose(bytes(text));
  raft.durable(next(raft).append?.job ?? 0);
  apply(raft, next(raft));
  raft.compact(4);
  assert.equal(raft.status().firstIndex, 1, "nothing is dropped that no snapshot covers");
  raft.offerSnapshot({ index: 5, term: 2, conf: raft.conf });
  raft.compact(4);
  assert.equal(raft.status().firstIndex, 5);
  assert.equal(raft.termOf(4), 2);
  assert.equal(raft.termOf(3), undefined);
  raft.checkInvariants();
});
