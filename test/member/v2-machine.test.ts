import assert from "node:assert/strict";
import { test } from "node:test";
import { AuthState } from "#ringd/auth/state.js";
import { readEnvelope } from "#ringd/cluster/envelope.js";
import { Membership } from "#ringd/cluster/membership.js";
import { raftAttributesPath } from "#ringd/cluster/paths.js";
import { Proposals } from "#ringd/member/proposals.js";
import { V2Machine } from "#ringd/member/v2-machine.js";
import { type Entry, EntryType } from "#ringd/raft/entry.js";
import { type Command, CommandOp, commandOf } from "#ringd/store/command.js";
import { Event } from "#ringd/store/event.js";
import { ErrorCode, Refusal } from "#ringd/store/refusal.js";
import { Store, type StoreOptions } from "#ringd/store/store.js";
import { TestProposal } from "./test-proposal.js";

function setUp(options: StoreOptions = {}) {
  const calls: string[] = [];
  const ports = {
    admits: () => true,
    dated: (command: Command) => command,
    onMembership: () => calls.push("membership"),
    onAuth: () => calls.push("auth"),
    deliver: () => calls.push("deliver"),
    cutWatches: () => calls.push("cut"),
  };
  const membership = new Membership();
  const store = new Store();
  const auth = new AuthState(() => undefined);
  const machine = new V2Machine(store, membership, auth, options, ports);
  return { calls, ports, membership, store, machine };
}

function set(path: string, value: string): TestProposal {
  return new TestProposal(commandOf(CommandOp.set, path, value, 1), 0);
}

function entryOf({ data }: TestProposal, index: number): Entry {
  return { index, term: 1, type: EntryType.normal, data };
}

test("a proposal made here gets the result, and other members reach the same state", () => {
  for (const format of [1, 2]) {
    const proposals = new Proposals(7n, 1);
    proposals.format = format;
    const here = setUp();
    const there = setUp();
    const good = set("/1/a", "1");
    const bad = set("/1", "2");
    for (const [i, proposal] of [good, bad].entries()) {
      proposals.add(proposal);
      here.machine.apply(entryOf(proposal, i + 1), proposal.payloadAt, proposal);
      const copy = { ...entryOf(proposal, i + 1), data: Uint8Array.from(proposal.data) };
      there.machine.apply(copy, readEnvelope(copy.data).payloadAt, undefined);
    }
    assert.ok(good.results[0] instanceof Event && good.results[0].index === 1);
    assert.ok(bad.results[0] instanceof Refusal && bad.results[0].code === ErrorCode.rootReadOnly);
    assert.deepEqual([...good.reasons, ...bad.reasons], []);
    assert.equal(there.store.get("/1/a")?.value, "1");
    assert.equal(there.store.index, here.store.index);
  }
});

test("a proposal that turns out to be void fails", () => {
  const proposals = new Proposals(7n, 1);
  const { machine, store, ports } = setUp();
  // Attributes of a member that was removed before.
  const late = set("/0/members/1f/attributes", '{"name":"late"}');
  proposals.add(late);
  machine.apply(entryOf(late, 1), late.payloadAt, late);
  const voided = set("/1/a", "1");
  proposals.add(voided);
  Object.assign(ports, { admits: () => false });
  machine.apply(entryOf(voided, 2), voided.payloadAt, voided);
  for (const { results, reasons } of [late, voided]) {
    assert.deepEqual([results.length, reasons.length], [0, 1]);
  }
  assert.equal(store.index, 0);
});

test("a conf change is stored and changes the membership", () => {
  const { machine, membership, store, calls } = setUp();
  machine.applyConfChange({ kind: "add", id: 0x1fn, peerUrls: ["http://127.0.0.1:1"] });
  assert.ok(store.get(raftAttributesPath(0x1fn)) !== undefined);
  assert.deepEqual(membership.member(0x1fn)?.peerUrls, ["http://127.0.0.1:1"]);
  assert.deepEqual(calls, ["deliver", "membership"]);
  machine.applyConfChange({ kind: "remove", id: 0x1fn });
  assert.ok(membership.isRemoved(0x1fn));
});

test("a snapshot replaces the state, and ends watches that missed events", () => {
  const from = setUp();
  for (let i = 1; i <= 3; i++) from.store.apply(set("/1/a", String(i)).command);
  from.machine.applyConfChange({ kind: "add", id: 0x1fn, peerUrls: ["http://127.0.0.1:1"] });
  for (const { historyEventsMax, calls } of [
    { historyEventsMax: 4, calls: ["auth", "deliver"] },
    { historyEventsMax: 3, calls: ["cut", "auth", "deliver"] },
  ]) {
    const into = setUp({ historyEventsMax });
    const source = from.machine.encoder();
    const sink = into.machine.decoder();
    for (let block = source.next(); block !== undefined; block = source.next()) sink.push(block);
    sink.finish().become();
    assert.equal(into.store.get("/1/a")?.value, "3");
    assert.ok(into.membership.member(0x1fn) !== undefined);
    assert.deepEqual(into.calls, calls);
  }
});
