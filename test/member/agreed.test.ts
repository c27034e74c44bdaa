import assert from "node:assert/strict";
import { test } from "node:test";
import { pino } from "pino";
import { Agreed } from "#ringd/member/agreed.js";
import { createMetricsMemory, MetricCells } from "#ringd/metrics/cells.js";
import { EntryType } from "#ringd/raft/entry.js";
import type { Raft } from "#ringd/raft/raft.js";
import { type Command, CommandOp, raiseCommand, syncCommand } from "#ringd/store/command.js";

/** A follower, started from a snapshot of the level. */
class Follower {
  readonly agreed: Agreed;
  #index = 100;

  constructor(format: number, ms: number) {
    const raft = {
      ...{ id: 1n, lead: 2n, term: 5, isLeader: false },
      conf: { voters: [1n, 2n, 3n], learners: [] as bigint[] },
    };
    const head = { format, clock: { ms, term: 0, index: 0 } };
    this.agreed = new Agreed(3, head, {
      raft: raft as unknown as Raft,
      ...{ metrics: new MetricCells(createMetricsMemory(1), 0), log: pino({ level: "silent" }) },
      ...{ electionMs: 1000, isFounding: false, propose: () => true },
      ...{ onKnown: () => undefined, onStale: () => undefined, onFormatLevel: () => undefined },
    });
    this.agreed.restore(head, 0);
  }

  apply(command: Command): void {
    const type = EntryType.normal;
    const entry = { index: ++this.#index, term: 5, type, data: new Uint8Array(0) };
    this.agreed.applies(entry, command, undefined, 10);
  }
}

const SET = { ...syncCommand(2000), op: CommandOp.set, expirationMs: 3000 } as const;

test("members whose old snapshots lack the cluster's time agree on TTLs", () => {
  // One has replayed a SYNC that the other's snapshot contains, but does not show.
  const members = [new Follower(1, 0), new Follower(1, 0)] as const;
  members[0].apply(syncCommand(9_000_000));
  for (const member of members) member.apply(raiseCommand(3, "0.3.0", 1000));
  const dated = () => members.map(({ agreed }) => agreed.dated(SET).expirationMs);
  assert.deepEqual(dated(), [3000, 3000]);
  for (const member of members) member.apply(syncCommand(2500));
  assert.deepEqual(dated(), [3500, 3500]);
  const marks = members.map(({ agreed }) => agreed.head.clock.ms);
  assert.deepEqual(marks, [2500, 2500], "nor do their snapshots differ");
});

test("a member that heard a later time takes the one of the leader's snapshot", () => {
  const member = new Follower(1, 0);
  member.apply(syncCommand(9_000_000));
  member.agreed.restore({ format: 3, clock: { ms: 2500, term: 5, index: 200 } }, 20);
  assert.equal(member.agreed.dated(SET).expirationMs, 3500);
  assert.equal(member.agreed.time.clock.floorMs, 9_000_000, "its clock does not go back");
});

test("a leader raises the level once it knows the time, and not by its wall clock", () => {
  const proposed: Command[] = [];
  const raft = {
    ...{ id: 1n, lead: 1n, term: 5, isLeader: true },
    conf: { voters: [1n], learners: [] as bigint[] },
  };
  const head = { format: 1, clock: { ms: 0, term: 0, index: 0 } };
  const agreed = new Agreed(3, head, {
    raft: raft as unknown as Raft,
    ...{ metrics: new MetricCells(createMetricsMemory(1), 0), log: pino({ level: "silent" }) },
    ...{ electionMs: 1000, isFounding: true, propose: (command) => proposed.push(command) > 0 },
    ...{ onKnown: () => undefined, onStale: () => undefined, onFormatLevel: () => undefined },
  });
  const raises = () => proposed.filter(({ op }) => op === CommandOp.raise);
  const tick = (appliedTerm: number, monoMs: number) =>
    agreed.tick([1n], { appliedTerm, expiringNodes: 0 }, { wallMs: 9_000_000, monoMs });
  tick(5, 10);
  assert.deepEqual(raises(), []);
  const entry = { index: 1, term: 5, type: EntryType.normal, data: new Uint8Array(0) };
  agreed.applies(entry, syncCommand(1000, true), undefined, 20);
  tick(4, 30);
  assert.deepEqual(raises(), [], "entries not yet applied may have another time");
  tick(5, 40);
  assert.equal(raises()[0]?.timeMs, 1020);
});
