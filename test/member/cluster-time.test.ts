import assert from "node:assert/strict";
import { test } from "node:test";
import { pino } from "pino";
import { FormatLevels } from "#ringd/cluster/format.js";
import { ClusterTime } from "#ringd/member/cluster-time.js";
import { createMetricsMemory, MetricCells } from "#ringd/metrics/cells.js";
import { cellOf } from "#ringd/metrics/families.js";
import { type Entry, EntryType } from "#ringd/raft/entry.js";
import type { Raft } from "#ringd/raft/raft.js";
import { type Command, CommandOp, syncCommand } from "#ringd/store/command.js";

/** One of three members at format 2, and its proposals. */
class Stage {
  stale = 0;
  readonly raft = {
    ...{ id: 1n, lead: 0n, term: 0, isLeader: false },
    conf: { voters: [1n, 2n, 3n], learners: [] as bigint[] },
  };
  readonly proposed: Command[] = [];
  readonly warned: string[] = [];
  canPropose = true;
  readonly metrics = new MetricCells(createMetricsMemory(1), 0);
  readonly time: ClusterTime;
  #index = 100;

  constructor(markMs = 0) {
    const formats = new FormatLevels(2);
    formats.raise(2, "", "the log");
    const write = (line: string) => this.warned.push((JSON.parse(line) as { msg: string }).msg);
    this.time = new ClusterTime(
      { ms: markMs, term: 0, index: 0 },
      {
        raft: this.raft as unknown as Raft,
        ...{ formats, metrics: this.metrics, log: pino({ level: "warn" }, { write }) },
        ...{ electionMs: 1000, isFounding: false, onKnown: () => undefined },
        onStale: () => {
          this.stale++;
        },
        propose: (command) => this.proposed.push(command) > 0 && this.canPropose,
      },
    );
  }

  leads(lead: bigint, term: number): void {
    Object.assign(this.raft, { lead, term, isLeader: lead === 1n });
  }

  /** Applies an entry of the term. @returns false if it is void */
  apply(command: Command, monoMs: number, isOwn = false, proposedMs = monoMs): boolean {
    const { term } = this.raft;
    const type = EntryType.normal;
    const entry: Entry = { index: ++this.#index, term, type, data: new Uint8Array(0) };
    return this.time.applies(entry, command, isOwn ? proposedMs : undefined, monoMs);
  }

  publish(id: bigint, monoMs: number, proposedMs = monoMs): void {
    const set = {
      ...syncCommand(0),
      op: 1,
      path: `/0/members/${id.toString(16)}/attributes`,
    } as const;
    this.apply(set, monoMs, id === 1n, proposedMs);
  }

  /** @returns the command proposed at once */
  tick(
    monoMs: number,
    wallMs = 0,
    expiring = 0,
    appliedTerm = this.raft.term,
  ): Command | undefined {
    const before = this.proposed.length;
    this.time.tick(appliedTerm, expiring, wallMs, monoMs);
    return this.proposed[before];
  }
}

test("a TTL counts from the latest time in the log before its entry", () => {
  const stage = new Stage(1000);
  stage.leads(1n, 5);
  stage.apply(syncCommand(90_000, true), 30);
  const set = { ...syncCommand(70_000), op: CommandOp.set, expirationMs: 90_000 } as const;
  const { timeMs, expirationMs } = stage.time.dated(set);
  assert.deepEqual([timeMs, expirationMs], [90_000, 110_000]);
  const later = { ...set, timeMs: 90_001 };
  assert.equal(stage.time.dated(later), later);
});

test("a starting member learns no time that was long on its way, but asks for another", () => {
  const stage = new Stage(1000);
  stage.leads(2n, 5);
  stage.publish(1n, 17_000, 20);
  stage.apply(syncCommand(90_000), 17_000);
  assert.deepEqual([stage.time.clock.isKnown, stage.stale], [false, 1]);
  stage.publish(1n, 17_100, 17_050);
  stage.apply(syncCommand(107_000), 17_200);
  assert.deepEqual([stage.time.clock.isKnown, stage.stale], [true, 1]);
  assert.equal(stage.time.clock.read(0, 17_300), 107_100);
});

test("where no entry is ever fast, the time is taken as it comes", () => {
  const stage = new Stage(1000);
  stage.leads(2n, 5);
  for (let n = 1; n <= 6; n++) {
    assert.equal(stage.time.clock.isKnown, false);
    stage.publish(1n, n * 10_000, n * 10_000 - 9000);
    stage.apply(syncCommand(90_000 + n * 10_000), n * 10_000);
  }
  assert.deepEqual([stage.time.clock.isKnown, stage.stale], [true, 5]);
});

test("a starting member learns the time from entries after one of its own, not from older ones", () => {
  const stage = new Stage(1000);
  stage.leads(2n, 5);
  stage.apply(syncCommand(2000), 10);
  assert.equal(stage.time.clock.isKnown, false);
  stage.publish(1n, 20);
  stage.apply(syncCommand(90_000), 30);
  assert.equal(stage.time.clock.isKnown, true);
  assert.equal(stage.time.clock.read(5, 130), 90_100);
  assert.equal(stage.tick(130), undefined, "followers have nothing to say");
});

test("a time that could not be proposed is read again at the next tick", () => {
  const stage = new Stage();
  stage.leads(2n, 5);
  stage.publish(1n, 0);
  stage.apply(syncCommand(50_000), 0);
  stage.leads(3n, 6);
  stage.tick(0);
  stage.canPropose = false;
  assert.equal(stage.tick(300)?.timeMs, 50_300, "the leader may not know it");
  assert.equal(stage.tick(400)?.timeMs, 50_400);
  stage.canPropose = true;
  assert.equal(stage.tick(500)?.timeMs, 50_500);
  assert.equal(stage.tick(600), undefined, "it is on its way");
});

test("a leader that knows the time sends it in each term and after each start, then only if needed", () => {
  const stage = new Stage();
  stage.leads(2n, 5);
  stage.publish(1n, 0);
  stage.apply(syncCommand(50_000), 0);
  stage.leads(1n, 6);
  assert.equal(stage.tick(1000)?.timeMs, 51_000);
  stage.apply(syncCommand(51_000), 1010, true);
  assert.equal(stage.tick(2000), undefined);
  assert.equal(stage.tick(500_000), undefined, "an idle cluster writes nothing");
  assert.ok(stage.tick(601_100) !== undefined, "but now and then");
  stage.apply(syncCommand(651_100), 601_110, true);
  stage.publish(3n, 601_200);
  assert.ok(stage.tick(601_300) !== undefined, "a member has started");
  stage.apply(syncCommand(651_300), 601_310, true);
  assert.equal(stage.tick(602_000), undefined);
  assert.ok(stage.tick(602_100, 0, 1) !== undefined, "something can expire");
});

test("a member that knows the time sends it to a new leader that does not", () => {
  const stage = new Stage();
  stage.leads(2n, 5);
  stage.publish(1n, 0);
  stage.apply(syncCommand(50_000), 0);
  stage.leads(3n, 6);
  assert.equal(stage.tick(1000), undefined, "the leader comes first");
  assert.equal(stage.tick(1250)?.timeMs, 51_250);
  stage.apply(syncCommand(51_250), 1300, true);
  assert.equal(stage.tick(3000), undefined);
});

test("a leader without the time waits for members that know it, and starts the clock if none does", () => {
  const stage = new Stage(80_000);
  stage.leads(1n, 7);
  assert.equal(stage.tick(0, 70_000), undefined);
  assert.equal(stage.tick(2900, 70_000), undefined);
  const start = stage.tick(3100, 70_000);
  assert.equal(start?.timeMs, 80_000, "not before the latest time in the log");
  assert.equal(start?.isRefresh, true);
  // Another time came first: the start is void.
  stage.apply(syncCommand(95_000), 3110);
  assert.equal(stage.apply(syncCommand(80_000, true), 3120, true), false);
  assert.equal(stage.time.clock.read(0, 3210), 95_100);
});

test("if all have just started, the leader does not wait", () => {
  const stage = new Stage(80_000);
  stage.leads(1n, 7);
  for (const id of [1n, 2n, 3n]) {
    assert.equal(stage.tick(10, 90_000), undefined);
    stage.publish(id, 10);
  }
  assert.equal(stage.tick(20, 90_000)?.timeMs, 90_000);
  assert.equal(stage.apply(syncCommand(90_000, true), 30, true), true);
  assert.equal(stage.time.clock.isKnown, true);
});

test("a clock restarted on another member replaces this member's", () => {
  const stage = new Stage();
  stage.leads(2n, 5);
  stage.publish(1n, 0);
  stage.apply(syncCommand(500_000), 0);
  stage.leads(3n, 6);
  stage.apply(syncCommand(500_010, true), 90_000);
  assert.equal(stage.time.clock.read(0, 90_100), 500_110);
});

test("a wall clock's offset is reported, with a warning when that changes", () => {
  const stage = new Stage();
  stage.leads(2n, 5);
  stage.publish(1n, 0);
  stage.apply(syncCommand(50_000), 0);
  stage.tick(100, 50_600);
  assert.deepEqual(stage.warned, []);
  stage.tick(200, 3_650_200);
  stage.tick(300, 3_650_300);
  assert.equal(stage.metrics.get(cellOf("clockOffset")), 3600);
  assert.equal(stage.warned.length, 1);
  stage.tick(400, 50_400);
  stage.tick(60_300, 3_710_300);
  assert.equal(stage.warned.length, 1, "it is as it was when that was said");
  stage.tick(130_000, 0);
  assert.equal(stage.warned.length, 2);
});

test("a leader restarts the clock once in its term, unless the proposal is rejected", () => {
  const stage = new Stage(1000);
  stage.leads(1n, 5);
  for (const id of [2n, 3n]) stage.publish(id, 10);
  stage.canPropose = false;
  assert.equal(stage.tick(20, 5000)?.isRefresh, true);
  stage.canPropose = true;
  assert.equal(stage.tick(600, 6000)?.timeMs, 6000);
  // Its log keeps the first until it is committed, however long that takes.
  assert.equal(stage.tick(1200, 900_000), undefined);
  stage.leads(1n, 7);
  for (const id of [2n, 3n]) stage.publish(id, 1300);
  assert.equal(stage.tick(1310, 7000)?.timeMs, 7000);
});

test("entries in flight behind a stale one are as stale, and count once", () => {
  const stage = new Stage(1000);
  stage.leads(2n, 5);
  stage.publish(1n, 10_000, 20);
  for (let n = 0; n < 8; n++) stage.apply(syncCommand(90_000 + n), 10_000 + n);
  assert.deepEqual([stage.time.clock.isKnown, stage.stale], [false, 1]);
  stage.publish(1n, 10_200, 10_100);
  stage.apply(syncCommand(100_000), 10_300);
  assert.equal(stage.time.clock.read(0, 10_300), 100_000);
});

test("the wait for a member with the time adds up over a leader's terms, each long enough to answer", () => {
  const stage = new Stage(1000);
  // Of terms of 2 s, another leads every second: no single one is long enough.
  for (let term = 5; term <= 9; term++) {
    const startMs = 2000 * term;
    stage.leads(term % 2 === 1 ? 1n : 2n, term);
    for (let ms = 0; ms < 2000; ms += 100) {
      const command = stage.tick(startMs + ms, 5_000_000);
      const isDue = term === 7 && ms > 1000 && stage.proposed.length === 1;
      if (isDue && command !== undefined) return;
      assert.equal(command, undefined, `term ${term}, ${ms} ms`);
    }
  }
  assert.fail("the clock was never started");
});

test("over slow links, that wait begins when a majority has an entry of the term", () => {
  const stage = new Stage(80_000);
  stage.leads(1n, 7);
  for (let ms = 0; ms < 5000; ms += 100) assert.equal(stage.tick(ms, 0, 0, 6), undefined);
  assert.equal(stage.tick(5000), undefined);
  assert.equal(stage.tick(6300), undefined, "a member with the time may not have answered yet");
  assert.equal(stage.tick(6500)?.isRefresh, true);
});
