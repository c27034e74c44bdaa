import assert from "node:assert/strict";
import { test } from "node:test";
import { SimCluster } from "./raft-cluster.js";

/** SEED=n reruns one history; RAFT_SEEDS=n and RAFT_FROM=s widen the hunt. */
const seeds = Number(process.env.RAFT_SEEDS ?? 300);
const from = Number(process.env.RAFT_FROM ?? 1);
const steps = Number(process.env.RAFT_STEPS ?? 400);

function run(seed: number): SimCluster {
  try {
    const sim = new SimCluster(seed);
    for (let i = 0; i < steps; i++) sim.step();
    sim.settle(1000);
    return sim;
  } catch (cause) {
    throw new Error(`SEED=${seed} fails: ${cause instanceof Error ? cause.message : cause}`, {
      cause,
    });
  }
}

if (process.env.SEED !== undefined) {
  test(`seed ${process.env.SEED}`, () => void run(Number(process.env.SEED)));
} else {
  test(`seeds ${from} to ${from + seeds - 1} keep every property and recover`, () => {
    let elections = 0;
    let answered = 0;
    let committed = 0;
    let snapshots = 0;
    for (let seed = from; seed < from + seeds; seed++) {
      const sim = run(seed);
      elections += sim.elections;
      answered += sim.answered;
      committed += sim.checks.commitIndex;
      snapshots += sim.snapshotsInstalled;
    }
    // The faults must leave room for the work they disturb.
    assert.ok(elections > 2 * seeds, `${elections} elections`);
    assert.ok(answered > 20 * seeds, `${answered} reads answered`);
    assert.ok(committed > 50 * seeds, `${committed} entries committed`);
    assert.ok(snapshots > seeds / 10, `${snapshots} snapshots installed`);
  });

  test("a removal that only the removed member knows as committed is learned from it", () => {
    // The remaining voter has a later term than the removed one, which rejects its pre-votes.
    run(111_558);
  });

  const random = Math.floor(Math.random() * 2 ** 31);
  test(`random seed ${random} keeps every property and recovers`, () => void run(random));

  test("a seed replays exactly", () => {
    assert.equal(run(from).trace, run(from).trace);
  });
}
