import assert from "node:assert/strict";
import { test } from "node:test";
import { type Proposal, Proposals } from "#ringd/member/proposals.js";
import { type Command, CommandOp, syncCommand } from "#ringd/store/command.js";
import { Prng } from "../support/prng.js";
import { SEED } from "../support/seed.js";

const ORIGIN = 7n;

function proposal(value: string, startMs = 0): Proposal {
  const command: Command = { ...syncCommand(0), op: CommandOp.set, path: "/1/a", value };
  return { command, client: undefined, noValueOnSuccess: false, startMs };
}

test("entries that come back in order are told apart from those of other members", () => {
  const own = new Proposals(ORIGIN, 100);
  const other = new Proposals(8n, 100);
  const first = own.add(proposal("1"));
  const foreign = other.add(proposal("2"));
  assert.equal(own.take(foreign.data).proposal, undefined);
  assert.equal(own.take(foreign.data).command.value, "2");
  assert.equal(own.take(first.data).proposal, first.proposal);
  assert.equal(own.size, 0);
  assert.equal(own.take(first.data).proposal, undefined, "each is answered once");
});

test("what is under way counts the directories that a deep path may need", () => {
  const proposals = new Proposals(ORIGIN, 100);
  const { command, ...rest } = proposal("1");
  const deep = { ...rest, command: { ...command, path: `/1${"/a".repeat(2000)}` } };
  const { number } = proposals.add(deep);
  assert.ok(proposals.openBytes > 2000 * 4000);
  proposals.drop(number);
  assert.equal(proposals.openBytes, 0);
});

test("an entry that crossed the network is a copy, and is found by its number", () => {
  const own = new Proposals(ORIGIN, 100);
  const first = own.add(proposal("1"));
  const second = own.add(proposal("2"));
  assert.equal(own.take(Uint8Array.from(second.data)).proposal, second.proposal);
  assert.equal(own.take(Uint8Array.from(first.data)).proposal, first.proposal);
});

test("an entry of an earlier life of this member belongs to nobody", () => {
  const before = new Proposals(ORIGIN, 100);
  const now = new Proposals(ORIGIN, 2000);
  const old = before.add(proposal("1"));
  now.add(proposal("2"));
  assert.equal(now.take(old.data).proposal, undefined);
  assert.equal(now.size, 1);
});

test(`what waits is what was added and neither taken, dropped nor too old, SEED=${SEED}`, () => {
  const prng = new Prng(SEED);
  const proposals = new Proposals(ORIGIN, 5);
  const model = new Map<number, { open: ReturnType<Proposals["add"]>; startMs: number }>();
  for (let nowMs = 1; nowMs <= 20_000; nowMs++) {
    const choice = prng.below(100);
    const some = [...model.values()][prng.below(Math.max(1, Math.min(8, model.size)))];
    if (choice < 50 || some === undefined) {
      const open = proposals.add(proposal(String(nowMs), nowMs));
      model.set(open.number, { open, startMs: nowMs });
    } else if (choice < 90) {
      const data = prng.oneIn(2) ? some.open.data : Uint8Array.from(some.open.data);
      assert.equal(proposals.take(data).proposal, some.open.proposal);
      model.delete(some.open.number);
    } else if (choice < 99) {
      proposals.drop(some.open.number);
      assert.equal(proposals.get(some.open.number), undefined);
      model.delete(some.open.number);
    } else {
      const sinceMs = nowMs - prng.below(400);
      const old = [...model.values()].filter(({ startMs }) => startMs <= sinceMs);
      assert.deepEqual(
        proposals.takeOlderThan(sinceMs),
        old.map(({ open }) => open.proposal),
      );
      for (const { open } of old) model.delete(open.number);
    }
    assert.equal(proposals.size, model.size);
  }
});
