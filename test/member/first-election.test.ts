import assert from "node:assert/strict";
import { test } from "node:test";
import { readConfig } from "#ringd/config/config.js";
import { FirstElection } from "#ringd/member/first-election.js";
import { bootstrap } from "#ringd/raft/bootstrap.js";
import { decodeConfChange } from "#ringd/raft/conf-change.js";
import { Raft } from "#ringd/raft/raft.js";

const ELECTION_TICKS = 10;

/** Member 1 of five initial members; it would campaign after `timeout` ticks. */
function follower(timeout: number): Raft {
  const raft = new Raft({
    ...{ id: 1n, electionTicks: ELECTION_TICKS, heartbeatTicks: 1 },
    ...{ preVote: true, checkQuorum: true, random: () => timeout - ELECTION_TICKS },
    restored: bootstrap([1n, 2n, 3n, 4n, 5n].map((id) => ({ id, context: new Uint8Array(0) }))),
  });
  for (const { data, index } of raft.ready()?.committed ?? []) {
    raft.applyConfChange(decodeConfChange(data));
    raft.applied(index);
  }
  while (raft.ready() !== undefined);
  return raft;
}

function firstElection(...argv: string[]): FirstElection {
  const request = readConfig(argv, {});
  assert.ok(request.kind === "run");
  return new FirstElection(request.config);
}

/** Ticks until the member asks for pre-votes. */
function ticksToCampaign(raft: Raft): number {
  for (let ticks = 1; ; ticks++) {
    raft.tick();
    if (raft.role !== "follower") return ticks;
    assert.ok(ticks < 100, "it campaigns");
  }
}

const among =
  (...up: bigint[]) =>
  (id: bigint) =>
    up.includes(id);

test("with a majority connected, two heartbeats and the random share of the timeout remain", () => {
  for (const timeout of [10, 13, 19]) {
    const raft = follower(timeout);
    const election = firstElection();
    election.onPeerUp(raft, among(1n, 2n));
    election.onPeerUp(raft, among(1n, 2n, 5n));
    assert.equal(ticksToCampaign(raft), timeout - ELECTION_TICKS + 2);
  }
});

test("a minority keeps waiting; a member that has waited longer stops waiting", () => {
  const alone = follower(12);
  firstElection().onPeerUp(alone, among(1n, 2n));
  assert.equal(ticksToCampaign(alone), 12);
  const late = follower(12);
  for (let i = 0; i < 11; i++) late.tick();
  firstElection().onPeerUp(late, among(1n, 2n, 3n));
  assert.equal(ticksToCampaign(late), 1);
});

test("it happens once, and not after contact with a leader", () => {
  const raft = follower(12);
  const election = firstElection();
  election.onPeerUp(raft, among(1n, 2n, 3n));
  assert.equal(ticksToCampaign(raft), 4);
  for (const from of [2n, 3n, 4n]) {
    const reply = { to: 1n, from, term: raft.term, granted: false, commit: 5, commitTerm: 1 };
    raft.step({ type: "preVoteReply", ...reply });
  }
  assert.deepEqual([raft.role, raft.lead], ["follower", 0n]);
  election.onPeerUp(raft, among(1n, 2n, 3n, 4n));
  assert.equal(ticksToCampaign(raft), 12);

  const led = follower(12);
  led.step({ type: "heartbeat", to: 1n, from: 2n, term: 2, commit: 5, round: 0 });
  firstElection().onPeerUp(led, among(1n, 2n, 3n));
  assert.equal(ticksToCampaign(led), 12);
});

test("--initial-election-tick-advance=false and --pre-vote=false keep the whole timeout", () => {
  for (const flag of ["--initial-election-tick-advance=false", "--pre-vote=false"]) {
    const raft = follower(12);
    firstElection(flag).onPeerUp(raft, among(1n, 2n, 3n, 4n, 5n));
    assert.equal(ticksToCampaign(raft), 12);
  }
});
