import assert from "node:assert/strict";
import { test } from "node:test";
import { readEnvelope } from "#ringd/cluster/envelope.js";
import { type Proposal, Proposals } from "#ringd/member/proposals.js";
import { type Command, CommandOp, syncCommand } from "#ringd/store/command.js";
import { decodeCommand } from "#ringd/store/command-codec.js";
import { Prng } from "../support/prng.js";
import { SEED } from "../support/seed.js";
import { TestProposal } from "./test-proposal.js";

const ORIGIN = 7n;

function proposal(value: string, startMs = 0): TestProposal {
  const command: Command = { ...syncCommand(0), op: CommandOp.set, path: "/1/a", value };
  return new TestProposal(command, startMs);
}

/** An open proposal. */
function add(proposals: Proposals, value: string, startMs = 0): TestProposal {
  const added = proposal(value, startMs);
  proposals.add(added);
  return added;
}

/** As in the applier. */
function take(proposals: Proposals, data: Uint8Array): Proposal | undefined {
  return proposals.takeIfOldest(data) ?? proposals.takeOf(readEnvelope(data));
}

test("own entries, which come back in order, are told apart from other members'", () => {
  const own = new Proposals(ORIGIN, 100);
  const other = new Proposals(8n, 100);
  const first = add(own, "1");
  const foreign = add(other, "2");
  assert.equal(take(own, foreign.data), undefined);
  assert.equal(decodeCommand(foreign.data, foreign.payloadAt).value, "2");
  assert.equal(take(own, first.data), first);
  assert.equal(own.size, 0);
  assert.equal(take(own, first.data), undefined, "each is answered once");
});

test("proposals in flight count the directories that a deep path may need", () => {
  const proposals = new Proposals(ORIGIN, 100);
  const { command } = proposal("1");
  const deep = new TestProposal({ ...command, path: `/1${"/a".repeat(2000)}` }, 0);
  proposals.add(deep);
  assert.ok(proposals.openBytes > 2000 * 4000);
  proposals.drop(deep);
  assert.equal(proposals.openBytes, 0);
});

test("an entry from the network is a copy, and is matched by its number", () => {
  const own = new Proposals(ORIGIN, 100);
  const first = add(own, "1");
  const second = add(own, "2");
  assert.equal(take(own, Uint8Array.from(second.data)), second);
  assert.equal(take(own, Uint8Array.from(first.data)), first);
});

test("an entry of an earlier incarnation of this member matches no proposal", () => {
  const before = new Proposals(ORIGIN, 100);
  const now = new Proposals(ORIGIN, 2000);
  const old = add(before, "1");
  add(now, "2");
  assert.equal(take(now, old.data), undefined);
  assert.equal(now.size, 1);
});

test(`open proposals are those added and neither taken, dropped nor timed out, SEED=${SEED}`, () => {
  const prng = new Prng(SEED);
  const proposals = new Proposals(ORIGIN, 5);
  const model = new Map<number, { open: TestProposal; startMs: number }>();
  for (let nowMs = 1; nowMs <= 20_000; nowMs++) {
    const choice = prng.below(100);
    const some = [...model.values()][prng.below(Math.max(1, Math.min(8, model.size)))];
    if (choice < 50 || some === undefined) {
      const open = add(proposals, String(nowMs), nowMs);
      model.set(open.number, { open, startMs: nowMs });
    } else if (choice < 90) {
      const data = prng.oneIn(2) ? some.open.data : Uint8Array.from(some.open.data);
      assert.equal(take(proposals, data), some.open);
      model.delete(some.open.number);
    } else if (choice < 99) {
      proposals.drop(some.open);
      assert.ok(!proposals.has(some.open));
      model.delete(some.open.number);
    } else {
      const sinceMs = nowMs - prng.below(400);
      const old = [...model.values()].filter(({ startMs }) => startMs <= sinceMs);
      assert.deepEqual(
        proposals.takeOlderThan(sinceMs),
        old.map(({ open }) => open),
      );
      for (const { open } of old) model.delete(open.number);
    }
    assert.equal(proposals.size, model.size);
  }
});
