import type { Entry, EntryType, SnapshotMeta } from "./entry.js";

/**
 * Messages between members. They may be lost, duplicated, delayed and reordered.
 *
 * `term` is the sender's, with two exceptions: a `preVote` and its granted reply carry the term the
 * candidate would campaign in; `forward`, `readIndex`, `readIndexReply` and `transfer` do not
 * depend on a term and carry 0.
 */
export type Message =
  | PreVote
  | PreVoteReply
  | Vote
  | VoteReply
  | Append
  | AppendReply
  | AppendReject
  | Heartbeat
  | HeartbeatReply
  | Snapshot
  | TimeoutNow
  | Forward
  | ForwardOnce
  | ReadIndex
  | ReadIndexReply
  | Transfer;

interface Envelope {
  readonly to: bigint;
  readonly from: bigint;
  readonly term: number;
}

/** "Would you vote for me?" Does not change the receiver's state (Raft thesis, 9.6). */
export interface PreVote extends Envelope {
  readonly type: "preVote";
  readonly lastIndex: number;
  readonly lastTerm: number;
}

export interface PreVoteReply extends Envelope, Committed {
  readonly type: "preVoteReply";
  readonly granted: boolean;
}

/**
 * The voter's commit index and the term there, valid for every member that has this entry. Without
 * it two members can block each other forever: the one that remains after a removal does not know
 * that the removal is committed and asks the removed one, whose log is longer, for its vote (found
 * by simulation).
 */
interface Committed {
  readonly commit: number;
  readonly commitTerm: number;
}

/** RequestVote (paper, figure 2). */
export interface Vote extends Envelope {
  readonly type: "vote";
  readonly lastIndex: number;
  readonly lastTerm: number;
  /** The leader requested this election, so its lease does not apply (thesis, 4.2.3). */
  readonly transfer: boolean;
}

export interface VoteReply extends Envelope, Committed {
  readonly type: "voteReply";
  readonly granted: boolean;
}

/**
 * AppendEntries (paper, figure 2). Without entries it is a probe or carries a higher commit index.
 */
export interface Append extends Envelope {
  readonly type: "append";
  readonly prevIndex: number;
  readonly prevTerm: number;
  readonly commit: number;
  /** Consecutive, the first at `prevIndex` + 1. */
  readonly entries: readonly Entry[];
}

/** "My disk holds your log up to `index`." Sent only once that is durable. */
export interface AppendReply extends Envelope {
  readonly type: "appendReply";
  readonly index: number;
}

/**
 * "My log does not match yours at `rejectedIndex`." Also the reply to a leader of an earlier term,
 * which learns from `term` that it is deposed; the other fields are then 0.
 */
export interface AppendReject extends Envelope {
  readonly type: "appendReject";
  /** The `prevIndex` that did not match. */
  readonly rejectedIndex: number;
  /** The last place where our logs may still agree, and our term there (paper, 5.3, last part). */
  readonly hintIndex: number;
  readonly hintTerm: number;
}

export interface Heartbeat extends Envelope {
  readonly type: "heartbeat";
  /** At most the receiver's known match. */
  readonly commit: number;
  /** The leader's newest read round, see read-index.ts. */
  readonly round: number;
}

export interface HeartbeatReply extends Envelope {
  readonly type: "heartbeatReply";
  readonly round: number;
}

/**
 * The receiver needs compacted entries. The shell sends its newest snapshot file: that of `meta`,
 * or a later one with its own meta. The receiving shell steps this message after it has received
 * and verified the whole file.
 */
export interface Snapshot extends Envelope {
  readonly type: "snapshot";
  readonly meta: SnapshotMeta;
}

/** "Campaign now" (thesis, 3.10). */
export interface TimeoutNow extends Envelope {
  readonly type: "timeoutNow";
}

export interface ForwardedProposal {
  readonly type: EntryType;
  readonly data: Uint8Array;
}

/** Proposals forwarded to the leader. If one is lost, its proposer times out. */
export interface Forward extends Envelope {
  readonly type: "forward";
  readonly proposals: readonly ForwardedProposal[];
}

export interface NumberedProposal extends ForwardedProposal {
  /** Chosen by the proposer, not 0, never reused. */
  readonly number: number;
}

/**
 * Proposals for the leader of this very term, which accepts each at most once, however often it is
 * sent. So a possibly lost proposal can be sent again; and one that is not in the log before the
 * first committed entry of a later term never will be.
 */
export interface ForwardOnce extends Envelope {
  readonly type: "forwardOnce";
  /** The proposer's incarnation, not 0. Numbers of different incarnations are unrelated. */
  readonly life: number;
  /** Proposals with lower numbers will not be sent again. */
  readonly oldest: number;
  readonly proposals: readonly NumberedProposal[];
}

/** Requests an index for a follower's batch of reads. Repeated until the reply comes. */
export interface ReadIndex extends Envelope {
  readonly type: "readIndex";
  readonly request: number;
}

export interface ReadIndexReply extends Envelope {
  readonly type: "readIndexReply";
  readonly request: number;
  readonly index: number;
}

/** A follower asks the leader to transfer leadership to `target`. */
export interface Transfer extends Envelope {
  readonly type: "transfer";
  readonly target: bigint;
}
