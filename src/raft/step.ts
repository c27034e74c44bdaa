import { assert, unreachable } from "../lib/assert.js";
import type { RaftCore } from "./core.js";
import {
  campaignIfAsked,
  isLeased,
  learnCommit,
  onPreVote,
  onPreVoteReply,
  onVote,
  onVoteReply,
  preVoteReply,
  voteReply,
} from "./election.js";
import { NONE } from "./entry.js";
import * as follower from "./follower.js";
import * as leader from "./leader.js";
import type { Message } from "./message.js";
import { onForward, onForwardOnce } from "./propose.js";

/** Handles a message from a peer: any sender, any order, nothing about it is assumed. */
export function step(core: RaftCore, message: Message): void {
  if (message.term === 0) {
    stepTermless(core, message);
    return;
  }
  if (message.term > core.term && !meetsLaterTerm(core, message)) return;
  if (message.term < core.term) {
    refuseEarlierTerm(core, message);
    return;
  }
  stepInTerm(core, message);
}

/** Adopts a later term. @returns false if the message is to be ignored */
function meetsLaterTerm(core: RaftCore, message: Message): boolean {
  switch (message.type) {
    case "preVote":
      return !isLeased(core);
    case "preVoteReply":
      // A granted reply carries the term we asked about, which we have not entered yet.
      if (!message.granted) core.becomeFollower(message.term, NONE);
      return true;
    case "vote":
      if (!message.transfer && isLeased(core)) return false;
      core.becomeFollower(message.term, NONE);
      return true;
    case "append":
    case "heartbeat":
    case "snapshot":
      core.becomeFollower(message.term, message.from);
      return true;
    default:
      core.becomeFollower(message.term, NONE);
      return true;
  }
}

function refuseEarlierTerm(core: RaftCore, message: Message): void {
  const { id: from, term } = core;
  const to = message.from;
  switch (message.type) {
    case "append":
    case "heartbeat":
    case "snapshot":
      // From a leader that was partitioned. Without a reply we could not agree on a term: we ignore
      // its term, and its lease keeps others from voting for us.
      core.send({
        type: "appendReject",
        ...{ to, from, term, rejectedIndex: 0, hintIndex: 0, hintTerm: 0 },
      });
      return;
    case "preVote":
      core.send(preVoteReply(core, to, term, false));
      return;
    case "vote":
      core.send(voteReply(core, to, false));
      return;
    case "preVoteReply":
    case "voteReply":
      // The vote is stale, but the commit index in it stays valid.
      learnCommit(core, message);
      return;
    default:
      return;
  }
}

function stepTermless(core: RaftCore, message: Message): void {
  switch (message.type) {
    case "forward":
      onForward(core, message);
      return;
    case "readIndex":
      leader.onReadIndex(core, message);
      return;
    case "readIndexReply":
      follower.onReadIndexReply(core, message);
      return;
    case "transfer":
      if (core.role === "leader") leader.startTransfer(core, message.target);
      return;
    default:
      return;
  }
}

function stepInTerm(core: RaftCore, message: Message): void {
  assert(message.term >= core.term, "messages of earlier terms were rejected");
  switch (message.type) {
    case "preVote":
      onPreVote(core, message);
      return;
    case "preVoteReply":
      onPreVoteReply(core, message);
      return;
    case "vote":
      onVote(core, message);
      return;
    case "voteReply":
      onVoteReply(core, message);
      return;
    case "append":
      follower.followLeader(core, message.from);
      follower.onAppend(core, message);
      return;
    case "heartbeat":
      follower.followLeader(core, message.from);
      follower.onHeartbeat(core, message);
      return;
    case "snapshot":
      follower.followLeader(core, message.from);
      follower.onSnapshot(core, message);
      return;
    case "timeoutNow":
      core.campaignTerm = core.term;
      campaignIfAsked(core);
      return;
    case "appendReply":
    case "appendReject":
    case "heartbeatReply":
    case "forwardOnce":
      stepLeader(core, message);
      return;
    case "forward":
    case "readIndex":
    case "readIndexReply":
    case "transfer":
      return;
    default:
      unreachable(message);
  }
}

function stepLeader(
  core: RaftCore,
  message: Extract<
    Message,
    { type: "appendReply" | "appendReject" | "heartbeatReply" | "forwardOnce" }
  >,
): void {
  const peer = core.progressOf(message.from);
  if (core.role !== "leader" || peer === undefined) return;
  switch (message.type) {
    case "appendReply":
      leader.onAppendReply(core, peer, message);
      return;
    case "appendReject":
      leader.onAppendReject(core, peer, message);
      return;
    case "heartbeatReply":
      leader.onHeartbeatReply(core, peer, message);
      return;
    case "forwardOnce":
      leader.onForwards(peer, message);
      onForwardOnce(core, peer, message);
      return;
    default:
      unreachable(message);
  }
}
