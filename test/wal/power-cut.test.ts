import assert from "node:assert/strict";
import { test } from "node:test";
import type { WalEntry, WalHardState } from "#ringd/messages/log-entry.js";
import { DiskError, LogFailedError, LogFullError } from "#ringd/storage/errors.js";
import type { LogPosition } from "#ringd/wal/batch.js";
import { Wal } from "#ringd/wal/wal.js";
import { Prng } from "../support/prng.js";
import { PowerLost, SimDisk } from "./sim-disk.js";

const RUNS = Number(process.env.RUNS ?? 2000);
const LIVES = 6;
const METADATA = { memberId: 0xfedc_ba98_7654_3210n, clusterId: 7n };

/** The expected content of the log: an obviously correct model. */
interface Model {
  base: number;
  entries: WalEntry[];
  hardState: WalHardState;
}

type Step =
  | { kind: "entry"; entry: WalEntry }
  | { kind: "hardState"; hardState: WalHardState }
  | { kind: "snapshot"; mark: LogPosition };

test("everything acknowledged by sync() survives any power cut, and the log continues after it", () => {
  const first = process.env.SEED;
  const seeds = first === undefined ? Array.from({ length: RUNS }, (_, i) => i) : [Number(first)];
  for (const seed of seeds) {
    try {
      live(seed);
    } catch (error) {
      throw new Error(`SEED=${seed}: ${(error as Error).stack}`, {
        cause: error,
      });
    }
  }
});

function live(seed: number): void {
  const prng = new Prng(seed);
  const disk = new SimDisk();
  const options = {
    disk,
    metadataIfNew: METADATA,
    segmentBytes: prng.pick([2048, 8192, 40_000]),
    zeroAheadBytes: prng.pick([512, 4096, 16_384]),
    formatIfNew: prng.pick([1, 2, 2] as const),
    salt: () => prng.uint32(),
  };
  let acked: Model = {
    base: 0,
    entries: [],
    hardState: { term: 0, vote: 0n, commit: 0 },
  };
  let snapshot: LogPosition = { index: 0, term: 0 };
  let unacked: Step[] = [];
  let hasLog = false;
  const failOneIn = prng.pick([0, 4, 20, 60]);
  for (let life = 0; life < LIVES; life++) {
    let hasFailed = false;
    let stepsLeft = prng.below(60);
    disk.before = ({ op }) => {
      if (stepsLeft-- === 0) throw new PowerLost();
      const isSync = op === "datasync" || op === "syncDirectory";
      if (isSync && failOneIn > 0 && prng.oneIn(failOneIn)) throw new DiskError(op, "file", "EIO");
    };
    try {
      const { wal, recovery } = Wal.open({
        ...options,
        snapshot,
        keepBeforeSnapshot: 1e6,
      });
      assert.deepEqual(recovery.metadata, METADATA);
      assert(!(hasLog && recovery.isNew), "a log that was there is found again");
      hasLog = true;
      acked = settle(acked, unacked, {
        base: recovery.base.index,
        entries: [...recovery.entries],
        hardState: recovery.hardState,
      });
      unacked = [];
      for (;;) {
        const step = draw(prng, wal, acked, unacked, snapshot);
        unacked.push(step);
        if (step.kind === "entry") wal.append({ entries: [step.entry] });
        else if (step.kind === "hardState") wal.setHardState(step.hardState);
        else wal.installSnapshot(step.mark);
        if (step.kind === "snapshot") snapshot = step.mark; // Its file is durable already.
        if (prng.oneIn(40)) wal.setFormat(2);
        if (!prng.oneIn(8)) continue;
        if (prng.oneIn(10)) disk.capacityBytes = disk.usedBytes + prng.below(6000);
        const durable = syncSoonerOrLater(wal, disk, prng);
        acked = after(acked, unacked);
        unacked = [];
        assert.deepEqual(durable, lastOf(acked, snapshot));
        if (!prng.oneIn(4) || acked.entries.length === 0) continue;
        const at = prng.pick(acked.entries);
        if (at.index > snapshot.index) snapshot = { index: at.index, term: at.term };
        wal.releaseBefore(snapshot.index, 1 + prng.below(2));
      }
    } catch (error) {
      const isPower = error instanceof PowerLost || (error as Error).cause instanceof PowerLost;
      if (!isPower && !(error instanceof LogFailedError)) throw error;
      hasFailed = !isPower;
    }
    // Sometimes only the process dies: writes stay, synced or not. After a failed sync that is the
    // rule: the member is restarted.
    disk.capacityBytes = Number.POSITIVE_INFINITY;
    if (prng.oneIn(4) || (hasFailed && !prng.oneIn(4))) disk.before = () => {};
    else disk.powerCut(prng);
  }
}

/** A full disk gets space after some attempts, unless the power fails first. */
function syncSoonerOrLater(wal: Wal, disk: SimDisk, prng: Prng): LogPosition {
  const before = wal.durable;
  for (;;) {
    try {
      return wal.sync();
    } catch (error) {
      if (!(error instanceof LogFullError)) throw error;
      assert.deepEqual(wal.durable, before, "nothing counts by half");
      if (prng.oneIn(2)) disk.capacityBytes = Number.POSITIVE_INFINITY;
      if (prng.oneIn(8)) throw new PowerLost();
    }
  }
}

function draw(prng: Prng, wal: Wal, acked: Model, unacked: Step[], snapshot: LogPosition): Step {
  const { last } = wal;
  const now = after(acked, unacked);
  const term = Math.max(last.term, now.hardState.term);
  if (prng.oneIn(6)) {
    const commit = Math.max(snapshot.index, last.index - prng.below(3));
    const newTerm = term + prng.below(2);
    const hasVoted = newTerm === now.hardState.term && now.hardState.vote !== 0n;
    const vote = hasVoted ? now.hardState.vote : BigInt(prng.below(4));
    return { kind: "hardState", hardState: { term: newTerm, vote, commit } };
  }
  if (prng.oneIn(60)) {
    return {
      kind: "snapshot",
      mark: { index: last.index + 1 + prng.below(9), term: term + 1 },
    };
  }
  const isReplaced = prng.oneIn(10) && last.index > snapshot.index;
  const index = isReplaced ? last.index - prng.below(last.index - snapshot.index) : last.index + 1;
  const data = new Uint8Array(prng.pick([0, 1, 20, 300, 511, 1300, 5000]));
  if (!prng.oneIn(3)) for (let i = 0; i < data.length; i++) data[i] = prng.uint32();
  return {
    kind: "entry",
    entry: {
      index,
      term: isReplaced ? term + 1 : term,
      type: prng.below(256),
      data,
    },
  };
}

function after(model: Model, steps: readonly Step[]): Model {
  let { base, entries, hardState } = model;
  entries = [...entries];
  for (const step of steps) {
    if (step.kind === "entry") {
      entries.length = step.entry.index - base - 1;
      entries.push(step.entry);
    } else if (step.kind === "snapshot") {
      base = step.mark.index;
      entries = [];
    } else hardState = step.hardState;
  }
  return { base, entries, hardState };
}

function lastOf(model: Model, snapshot: LogPosition): LogPosition {
  const last = model.entries.at(-1);
  return last === undefined ? snapshot : { index: last.index, term: last.term };
}

/** The log must hold all acknowledged steps and a prefix of the others. */
function settle(acked: Model, unacked: readonly Step[], found: Model): Model {
  const terms = [acked.hardState, ...unacked.flatMap(hardStateOf)];
  for (let k = unacked.length; k >= 0; k--) {
    const want = after(acked, unacked.slice(0, k));
    if (!sameEntries(want, found)) continue;
    const { term, vote } = found.hardState;
    const isKnown = terms.some((h) => h.term === term && h.vote === vote);
    const isRaised = vote === 0n && term > acked.hardState.term;
    assert(isKnown || isRaised, "the hard state is one that was set");
    assert(term >= acked.hardState.term, "the term does not go back");
    assert(
      found.hardState.commit <= found.base + found.entries.length,
      "nothing is committed beyond the log",
    );
    return found;
  }
  assert.fail(
    `found ${found.base}+${found.entries.length}, acknowledged ${acked.base}+${acked.entries.length}`,
  );
}

function hardStateOf(step: Step): WalHardState[] {
  return step.kind === "hardState" ? [step.hardState] : [];
}

/** The log may begin later than the model if segments were dropped. */
function sameEntries(want: Model, found: Model): boolean {
  if (want.base + want.entries.length !== found.base + found.entries.length) return false;
  const skip = found.base - want.base;
  if (skip < 0) return false;
  return found.entries.every((entry, i) => {
    const other = want.entries[i + skip];
    return (
      other !== undefined &&
      other.index === entry.index &&
      other.term === entry.term &&
      other.type === entry.type &&
      Buffer.compare(other.data, entry.data) === 0
    );
  });
}
