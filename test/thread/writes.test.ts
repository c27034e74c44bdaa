import assert from "node:assert/strict";
import { test } from "node:test";
import { createMetricsMemory, MetricCells } from "#ringd/metrics/cells.js";
import { NONE } from "#ringd/raft/entry.js";
import type { ProposeResult } from "#ringd/raft/propose.js";
import type { Raft } from "#ringd/raft/raft.js";
import { syncCommand } from "#ringd/store/command.js";
import type { Proposal } from "#ringd/thread/proposals.js";
import { Writes } from "#ringd/thread/writes.js";

const SELF = 1n;
const OTHER = 2n;

/** As much of raft as writes see: who leads, and what becomes of a proposal. */
class FakeRaft {
  readonly id = SELF;
  lead = NONE;
  isLeader = false;
  proposed = 0;
  answer: ProposeResult = { kind: "forwarded", leader: OTHER, term: 1, isOnce: false };

  propose(): ProposeResult {
    this.proposed++;
    return this.answer;
  }
}

function setUp() {
  const raft = new FakeRaft();
  const connected = new Set<bigint>([SELF]);
  const refused: string[] = [];
  const writes = new Writes(raft as unknown as Raft, 1, {
    metrics: new MetricCells(createMetricsMemory(1), 0),
    isConnected: (id) => connected.has(id),
    refuse: (_, why) => refused.push(why),
  });
  return { raft, connected, refused, writes };
}

function proposal(startMs: number): Proposal {
  return { command: syncCommand(0), client: undefined, noValueOnSuccess: false, startMs };
}

test("a write waits for a leader, and for a way to it, and is passed on once", () => {
  const { raft, connected, refused, writes } = setUp();
  writes.propose(proposal(1));
  assert.equal(raft.proposed, 0, "nobody leads");
  raft.lead = OTHER;
  writes.retry();
  assert.equal(raft.proposed, 0, "what is sent to a member without a stream is lost");
  connected.add(OTHER);
  writes.retry();
  writes.retry();
  assert.equal(raft.proposed, 1);
  assert.deepEqual(refused, []);
  assert.equal(writes.open, 1);
});

test("a write that waited too long is refused and never proposed", () => {
  const { raft, connected, refused, writes } = setUp();
  writes.propose(proposal(1));
  writes.giveUp(1, () => "too late");
  assert.deepEqual(refused, ["too late"]);
  raft.lead = OTHER;
  connected.add(OTHER);
  writes.retry();
  assert.equal(raft.proposed, 0);
});

test("a leader that hands over lets writes wait; one with a full disk refuses them", () => {
  const { raft, refused, writes } = setUp();
  raft.lead = SELF;
  raft.isLeader = true;
  raft.answer = { kind: "refused", reason: "transferring" };
  writes.propose(proposal(1));
  assert.deepEqual(refused, []);
  writes.block("the disk is full");
  writes.propose(proposal(2));
  assert.deepEqual(refused, ["the disk is full"]);
  raft.answer = { kind: "refused", reason: "tooMany" };
  writes.retry();
  assert.deepEqual(refused, ["the disk is full", "etcdserver: too many requests"]);
});
