import assert from "node:assert/strict";
import { test } from "node:test";
import { Reads } from "#ringd/member/reads.js";
import { createMetricsMemory, MetricCells } from "#ringd/metrics/cells.js";
import { bootstrap } from "#ringd/raft/bootstrap.js";
import { Raft } from "#ringd/raft/raft.js";

test("a read is served once the store has reached raft's read index, not before", () => {
  const restored = bootstrap([{ id: 1n, context: new Uint8Array(0) }]);
  const options = { electionTicks: 10, heartbeatTicks: 1, preVote: true, checkQuorum: true };
  const raft = new Raft({ id: 1n, ...options, random: () => 0, restored });
  const metrics = new MetricCells(createMetricsMemory(1), 0);
  let hasRoom = true;
  const warnings: unknown[] = [];
  const log = { warn: (...line: unknown[]) => warnings.push(line) };
  const reads = new Reads(raft, {
    ...{ metrics, log: log as never },
    hasRoom: (frontend) => frontend === 1 || hasRoom,
  });
  const answered: string[] = [];
  for (const name of ["a", "b", "c", "d", "e"]) {
    reads.add({
      frontend: name === "e" ? 1 : 0,
      startMs: 0,
      isHealthCheck: false,
      confirmed: () => answered.push(name),
      failed: assert.fail,
    });
  }
  // The leader may send a follower an index that it has not applied yet.
  reads.confirm([
    { ctx: 1, index: 7 },
    { ctx: 2, index: 5 },
  ]);
  reads.answerUpTo(4);
  assert.deepEqual(answered, []);
  reads.answerUpTo(6);
  assert.deepEqual(answered, ["b"]);
  reads.answerUpTo(7);
  assert.deepEqual(answered, ["b", "a"]);
  reads.confirm([{ ctx: 3, index: 7 }]);
  reads.answerUpTo(7);
  assert.deepEqual(answered, ["b", "a", "c"]);
  // A frontend that takes no responses holds up its own clients.
  hasRoom = false;
  reads.confirm([4, 5].map((ctx) => ({ ctx, index: 7 })));
  assert.ok(reads.hasWork(7));
  reads.answerUpTo(7);
  assert.deepEqual(answered, ["b", "a", "c", "e"]);
  assert.ok(!reads.hasWork(7));
  hasRoom = true;
  assert.ok(reads.hasWork(7) && !reads.hasWork(6));
  reads.answerUpTo(7);
  assert.deepEqual(answered, ["b", "a", "c", "e", "d"]);
});
