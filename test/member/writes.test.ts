import assert from "node:assert/strict";
import { test } from "node:test";
import { LIMIT_REACHED, memberLimits } from "#ringd/member/limits.js";
import { Writes } from "#ringd/member/writes.js";
import { createMetricsMemory, MetricCells } from "#ringd/metrics/cells.js";
import { NONE } from "#ringd/raft/entry.js";
import { RAFT_LIMITS } from "#ringd/raft/options.js";
import type { ProposeResult } from "#ringd/raft/propose.js";
import type { Raft } from "#ringd/raft/raft.js";
import { syncCommand } from "#ringd/store/command.js";
import { TestProposal } from "./test-proposal.js";

const SELF = 1n;
const OTHER = 2n;

/** The part of raft that writes see: the leader, and a proposal's outcome. */
class FakeRaft {
  readonly id = SELF;
  lead = NONE;
  isLeader = false;
  term = 1;
  proposed = 0;
  numbers: number[] = [];
  answer: ProposeResult = { kind: "forwarded", leader: OTHER, term: 1, isOnce: false };

  propose(_data: Uint8Array, number: number): ProposeResult {
    this.proposed++;
    this.numbers.push(number);
    return this.answer;
  }
}

const ONCE = { kind: "forwarded", leader: OTHER, term: 1, isOnce: true } as const;

function setUp(limits = memberLimits(2 ** 30)) {
  const raft = new FakeRaft();
  const connected = new Set<bigint>([SELF]);
  /** Failed proposals, in order. */
  const refused: string[] = [];
  const proposal = (startMs: number, isRetried = true) =>
    new (class extends TestProposal {
      override failed(reason: string): void {
        super.failed(reason);
        refused.push(reason);
      }
    })(syncCommand(0), startMs, isRetried);
  const metrics = new MetricCells(createMetricsMemory(1), 0);
  const writes = new Writes(raft as unknown as Raft, 1, {
    metrics,
    limits,
    isConnected: (id) => connected.has(id),
  });
  return { raft, connected, refused, writes, proposal, metrics };
}

test("a write waits for a leader, and for a stream to it, and is forwarded once", () => {
  const { raft, connected, refused, writes, proposal } = setUp();
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

test("a write that timed out is rejected and never proposed", () => {
  const { raft, connected, refused, writes, proposal } = setUp();
  writes.propose(proposal(1));
  writes.giveUp(1, () => "too late");
  assert.deepEqual(refused, ["too late"]);
  raft.lead = OTHER;
  connected.add(OTHER);
  writes.retry();
  assert.equal(raft.proposed, 0);
});

test("a leader that hands over parks writes; one with a full disk rejects them", () => {
  const { raft, refused, writes, proposal } = setUp();
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
  assert.ok(writes.isBlocked);
  writes.unblock();
  assert.ok(!writes.isBlocked);
  raft.answer = { kind: "appended", index: 9, term: 1 };
  writes.propose(proposal(3));
  assert.equal(refused.length, 2);
});

test("a forwarded write is resent to the same leader, and proposed anew once it cannot commit", () => {
  const { raft, connected, refused, writes, proposal } = setUp();
  raft.lead = OTHER;
  connected.add(OTHER);
  raft.answer = ONCE;
  writes.propose(proposal(1));
  writes.propose(proposal(1));
  writes.sendAgain();
  assert.deepEqual(raft.numbers, [2, 3, 2, 3]);
  writes.onTerm(1);
  assert.equal(raft.proposed, 4, "entries of its own term come");
  const { openBytes } = writes;
  raft.term = 2;
  writes.sendAgain();
  assert.equal(raft.proposed, 4, "another leader may not have it as long as it may be in the log");
  raft.answer = { ...ONCE, term: 2 };
  writes.onTerm(2);
  assert.deepEqual(raft.numbers.slice(4), [2, 3]);
  assert.deepEqual(refused, []);
  assert.deepEqual([writes.open, writes.openBytes], [2, openBytes], "each counts once");
});

test("writes that are not retried are neither resent nor proposed anew", () => {
  const { raft, connected, refused, writes, proposal } = setUp();
  raft.lead = OTHER;
  connected.add(OTHER);
  raft.answer = ONCE;
  writes.propose(proposal(1, false));
  writes.sendAgain();
  raft.term = 2;
  writes.onTerm(2);
  assert.equal(raft.proposed, 1);
  assert.deepEqual([refused.length, writes.open, writes.openBytes], [1, 0, 0]);
});

test("the member's own writes never wait, as they are for one leader and term", () => {
  const { raft, connected, refused, writes, proposal } = setUp();
  const propose = () => writes.propose(proposal(1, false));
  assert.equal(propose(), false, "nobody leads");
  raft.lead = OTHER;
  assert.equal(propose(), false, "the leader cannot be reached");
  connected.add(OTHER);
  raft.answer = { kind: "refused", reason: "transferring" };
  assert.equal(propose(), false, "the leader is handing over");
  raft.answer = { ...ONCE, term: 2 };
  raft.term = 2;
  const before = raft.proposed;
  writes.retry();
  assert.equal(raft.proposed, before);
  assert.deepEqual([refused.length, writes.open, writes.openBytes], [3, 0, 0], "each is told");
  assert.equal(propose(), true);
  assert.equal(raft.proposed, before + 1);
});

test("writes that may be in entries replaced by a snapshot are never proposed again", () => {
  const { raft, connected, writes, proposal } = setUp();
  raft.lead = OTHER;
  connected.add(OTHER);
  raft.answer = ONCE;
  writes.propose(proposal(1));
  writes.skipTo(3);
  writes.onTerm(4);
  writes.sendAgain();
  assert.equal(raft.proposed, 1);
});

test("writes sent to a leader of an older build, or without room, are not resent", () => {
  const { raft, connected, refused, writes, proposal } = setUp();
  raft.lead = OTHER;
  connected.add(OTHER);
  writes.propose(proposal(1));
  writes.sendAgain();
  writes.onTerm(2);
  assert.equal(raft.proposed, 1);
  raft.answer = ONCE;
  writes.propose(proposal(1));
  raft.answer = { kind: "refused", reason: "tooMany" };
  writes.sendAgain();
  assert.deepEqual(refused, [], "it may have arrived");
  assert.equal(writes.open, 2);
});

test("a parked write whose client has disconnected is dropped", () => {
  const { raft, refused, writes, proposal } = setUp();
  const abandoned = proposal(1);
  writes.propose(abandoned);
  writes.propose(proposal(1));
  const { openBytes } = writes;
  let asked = 0;
  writes.abandon(() => {
    asked++;
    return false;
  });
  assert.deepEqual([writes.open, asked], [2, 2]);
  writes.abandon((open) => open === abandoned);
  assert.deepEqual([writes.open, writes.openBytes], [1, openBytes / 2]);
  assert.equal(refused.length, 1);
  raft.lead = SELF;
  raft.isLeader = true;
  writes.retry();
  assert.equal(raft.proposed, 1);
});

test("a follower's open proposals have a limit, by number and by bytes of their entries", () => {
  for (const limit of [{ proposalsMax: 3 }, { proposalBytesMax: 120 }]) {
    const limits = { ...memberLimits(2 ** 30), ...limit };
    const { raft, connected, refused, writes, proposal, metrics } = setUp(limits);
    raft.lead = OTHER;
    connected.add(OTHER);
    raft.answer = ONCE;
    let taken = 0;
    while (writes.propose(proposal(1))) taken++;
    assert.ok(writes.dataBytes >= 120 || taken === 3, "it took what the limit allows");
    assert.deepEqual(refused, ["etcdserver: too many requests"]);
    assert.equal(metrics.get(LIMIT_REACHED.proposals), 1);
    assert.equal(raft.proposed, taken, "the leader never hears of what is rejected");
    assert.equal(writes.propose(proposal(1, false)), true, "the member's own go on");
    writes.giveUp(1, () => "too late");
    assert.deepEqual([writes.open, writes.dataBytes], [0, 0]);
    assert.equal(writes.propose(proposal(2)), true, "there is room again");
  }
});

test("writes proposed again after a change of leader wait for room on the way to it", () => {
  const { raft, connected, refused, writes, proposal } = setUp({
    ...memberLimits(2 ** 30),
    parkedMax: 2,
  });
  raft.lead = OTHER;
  connected.add(OTHER);
  raft.answer = ONCE;
  for (let n = 0; n < 5; n++) writes.propose(proposal(1));
  raft.term = 2;
  raft.answer = { kind: "refused", reason: "tooMany" };
  writes.onTerm(2);
  assert.deepEqual([refused, writes.open], [[], 5]);
  writes.retry();
  assert.deepEqual([refused, writes.open], [[], 5]);
  assert.equal(writes.propose(proposal(1)), false, "new ones have the limit");
  raft.answer = { ...ONCE, term: 2 };
  const before = raft.proposed;
  writes.retry();
  assert.deepEqual([raft.proposed - before, writes.open], [5, 5]);
});

test("a follower can forward all writes that it may have open, between two readies", () => {
  const { proposalsMax } = memberLimits(2 ** 30);
  assert.ok(RAFT_LIMITS.forwardProposalsMax >= proposalsMax);
});

test("writes that wait for a leader have a limit", () => {
  for (const limit of [{ parkedMax: 2 }, { parkedBytesMax: 60 }]) {
    const { refused, writes, proposal, metrics } = setUp({ ...memberLimits(2 ** 30), ...limit });
    while (writes.propose(proposal(1))) assert.ok(writes.open <= 10);
    assert.deepEqual(refused, ["etcdserver: too many requests"]);
    assert.equal(metrics.get(LIMIT_REACHED.parked), 1);
    assert.ok(writes.open >= 1);
  }
});
