import { assert, unreachable } from "../lib/assert.js";
import type { RaftCore } from "./core.js";
import { NONE } from "./entry.js";
import type { PreVote, PreVoteReply, Vote, VoteReply } from "./message.js";
import { tallyVotes } from "./quorum.js";

/**
 * Starts an election (Raft paper, 5.2).
 *
 * @param transfer requested by the leader: skips the pre-vote and overrides leases
 * @returns false if this member may not campaign now
 */
export function campaign(core: RaftCore, transfer: boolean): boolean {
  if (core.role === "leader" || !core.isVoter()) return false;
  // With a committed but unapplied change, we would count votes by an old membership.
  if (core.log.hasUnappliedConfChange() || core.snapshotToWrite !== undefined) return false;
  if (core.options.preVote && !transfer && !core.isOnlyVoter()) askForPreVotes(core);
  else askForVotes(core, transfer);
  assert(core.role !== "follower", "who campaigns follows nobody");
  return true;
}

/**
 * Campaigns on the leader's request, or as soon as committed membership changes are applied: the
 * leader may have sent one just before the request.
 */
export function campaignIfAsked(core: RaftCore): void {
  assert(core.campaignTerm <= core.term, "a member campaigns in a term that it has entered");
  if (core.campaignTerm !== core.term || core.role !== "follower") return;
  if (campaign(core, true) || !core.log.hasUnappliedConfChange()) core.campaignTerm = 0;
}

function askForPreVotes(core: RaftCore): void {
  core.becomePreCandidate();
  assert(core.votes.size === 0, "the votes of another campaign do not count");
  core.votes.set(core.id, true);
  const { lastIndex, lastTerm } = core.log;
  for (const to of core.conf.voters) {
    if (to === core.id) continue;
    const term = core.term + 1;
    core.send({ type: "preVote", to, from: core.id, term, lastIndex, lastTerm });
  }
}

/**
 * Even vote requests wait for our disk. If we sent one and crashed, we could ask again in the same
 * term with a shorter log, and a vote granted for the longer log would count.
 */
function askForVotes(core: RaftCore, transfer: boolean): void {
  core.becomeCandidate();
  const { id, term } = core;
  const { lastIndex, lastTerm } = core.log;
  assert(
    core.vote === id && lastTerm < term,
    "a candidate's term is a new one, and its vote its own",
  );
  for (const to of core.conf.voters) {
    if (to === id) core.sendWhenDurable(voteReply(core, id, true));
    else core.sendWhenDurable({ type: "vote", to, from: id, term, lastIndex, lastTerm, transfer });
  }
}

/**
 * A member that hears a leader ignores vote requests, so that a disconnected or removed member
 * cannot disrupt the cluster (thesis, 4.2.3).
 */
export function isLeased(core: RaftCore): boolean {
  const { checkQuorum, electionTicks } = core.options;
  return checkQuorum && core.lead !== NONE && core.electionElapsed < electionTicks;
}

/** The caller has rejected requests of earlier terms and those that meet a lease. */
export function onPreVote(core: RaftCore, message: PreVote): void {
  assert(message.term >= core.term, "requests of earlier terms were rejected");
  const granted = message.term > core.term && isUpToDate(core, message);
  assert(!granted || !isLeased(core), "a lease withholds pre-votes");
  const term = granted ? message.term : core.term;
  core.send(preVoteReply(core, message.from, term, granted));
}

/** The message's term equals ours. */
export function onVote(core: RaftCore, message: Vote): void {
  assert(message.term === core.term, "a vote is given in its own term");
  const free = core.vote === NONE && core.lead === NONE;
  const granted = (free || core.vote === message.from) && isUpToDate(core, message);
  if (!granted) {
    core.send(voteReply(core, message.from, false));
    return;
  }
  assert(core.lead === NONE || core.vote === message.from, "no vote against a leader of its term");
  core.vote = message.from;
  core.electionElapsed = 0;
  core.sendWhenDurable(voteReply(core, message.from, true));
}

export function preVoteReply(
  core: RaftCore,
  to: bigint,
  term: number,
  granted: boolean,
): PreVoteReply {
  assert(term >= core.term, "a reply carries no earlier term");
  assert(!granted || term > core.term, "a pre-vote is for a term to come");
  return { type: "preVoteReply", to, from: core.id, term, granted, ...core.committed() };
}

export function voteReply(core: RaftCore, to: bigint, granted: boolean): VoteReply {
  assert(!granted || core.vote === to, "a member votes once in a term");
  const { id: from, term } = core;
  return { type: "voteReply", to, from, term, granted, ...core.committed() };
}

function isUpToDate(core: RaftCore, { lastIndex, lastTerm }: PreVote | Vote): boolean {
  return core.log.isUpToDate({ index: lastIndex, term: lastTerm });
}

export function onPreVoteReply(core: RaftCore, message: PreVoteReply): void {
  learnCommit(core, message);
  if (core.role !== "preCandidate") return;
  if (message.granted && message.term !== core.term + 1) return;
  if (count(core, message) === "won") askForVotes(core, false);
}

export function onVoteReply(core: RaftCore, message: VoteReply): void {
  assert(message.term === core.term, "a vote counts in its own term");
  learnCommit(core, message);
  if (core.role !== "candidate") return;
  if (count(core, message) === "won") core.becomeLeader();
}

/** Valid for replies of any term, see `Committed` in message.ts. */
export function learnCommit(
  core: RaftCore,
  { commit, commitTerm }: PreVoteReply | VoteReply,
): void {
  if (core.log.has({ index: commit, term: commitTerm })) core.log.commitTo(commit);
}

function count(core: RaftCore, { from, granted }: PreVoteReply | VoteReply): "won" | "other" {
  assert(core.role !== "follower" && core.role !== "leader", "votes count in a campaign");
  // A voter's first reply counts; repeats are ignored.
  if (!core.votes.has(from)) core.votes.set(from, granted);
  const tally = tallyVotes(core.conf.voters, core.votes);
  switch (tally) {
    case "won":
      return "won";
    case "lost":
      core.becomeFollower(core.term, NONE);
      return "other";
    case "pending":
      return "other";
    default:
      return unreachable(tally);
  }
}
