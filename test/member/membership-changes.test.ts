import assert from "node:assert/strict";
import { test } from "node:test";
import type { Membership } from "#ringd/cluster/membership.js";
import { MembershipChanges } from "#ringd/member/membership-changes.js";
import { createMetricsMemory, MetricCells } from "#ringd/metrics/cells.js";
import type { Raft } from "#ringd/raft/raft.js";
import type { ApiResponse } from "#ringd/v2/plain.js";
import { Method } from "#ringd/v2/request.js";

const LEARNER = 7n;

/** A learner's promotion that a client asks for, on a leader or a follower. */
function promotion(isLeader: boolean) {
  const learner = { id: LEARNER, name: "l", peerUrls: [], clientUrls: [], isLearner: true };
  const membership = {
    members: () => [learner],
    member: () => learner,
    isRemoved: () => false,
  } as unknown as Membership;
  const raft = {
    ...{ id: 5n, lead: isLeader ? 5n : 6n, isLeader, hasOpenConfChange: false },
    conf: { voters: [5n, 6n], learners: [LEARNER] },
    proposeConfChange: () => ({ kind: isLeader ? "refused" : "forwarded" }),
  };
  const answers: ApiResponse[] = [];
  const changes = new MembershipChanges(raft as unknown as Raft, membership, 100, {
    metrics: new MetricCells(createMetricsMemory(1), 0),
    ...{ limits: { changesMax: 10 }, formatLevel: () => 4, electionMs: 1000, heartbeatMs: 100 },
    answer: (_, answer) => answers.push(answer),
    onChanged: () => undefined,
  });
  const client = { frontend: 0, requestId: 1, method: Method.post };
  changes.add(client, { kind: "promote", id: LEARNER }, 0);
  return { raft, answers, tick: (monoMs: number) => changes.tick(monoMs, 10_000) };
}

for (const isLeader of [true, false]) {
  const where = isLeader ? "the leader" : "a follower";
  test(`on ${where}, a promotion in the log is not said to be refused, however slow the disks`, () => {
    const { raft, answers, tick } = promotion(isLeader);
    raft.hasOpenConfChange = true;
    for (let ms = 0; ms < 10_000; ms += 100) tick(ms);
    assert.deepEqual(answers, []);
    tick(10_000);
    assert.equal(answers.length, 1, "it has the time that others have");
  });

  test(`on ${where}, a learner that stays behind is not waited for`, () => {
    const { answers, tick } = promotion(isLeader);
    for (let ms = 0; ms <= 1000; ms += 100) tick(ms);
    assert.equal(answers.length, 1);
    assert.match(Buffer.from(answers[0]?.body ?? []).toString(), /in sync with leader/);
  });
}
