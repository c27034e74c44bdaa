import type { Entry, EntryType, SnapshotMeta } from "./entry.js";

/**
 * What members tell each other. Messages may be lost, repeated, delayed and reordered.
 *
 * `term` is the sender's, with two exceptions: a `preVote` and its granted reply carry the term the
 * candidate would campaign in, and the requests that any leader may answer whatever its term
 * (`forward`, `readIndex`, `readIndexReply`, `transfer`) carry 0.
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

/** "Would you vote for me?" Changes nothing at the receiver (Raft thesis, 9.6). */
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
 * The voter's commit index and its term there: a fact for everyone who has this entry. Without it
 * two members can block each other for good: the one left over by a removal does not know that the
 * removal is committed and asks the removed one for a vote, whose log is longer (found by
 * simulation).
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
  /** The leader itself asked for this election, so its lease does not count (thesis, 4.2.3). */
  readonly transfer: boolean;
}

export interface VoteReply extends Envelope, Committed {
  readonly type: "voteReply";
  readonly granted: boolean;
}

/** AppendEntries (paper, figure 2). Without entries: a probe, or news of a higher commit index. */
export interface Append extends Envelope {
  readonly type: "append";
  readonly prevIndex: number;
  readonly prevTerm: number;
  readonly commit: number;
  /** Consecutive, the first at `prevIndex` + 1. */
  readonly entries: readonly Entry[];
}

/** "My disk holds your log up to `index`." Leaves only after the disk really does. */
export interface AppendReply extends Envelope {
  readonly type: "appendReply";
  readonly index: number;
}

/**
 * "I do not have `rejectedIndex` as you do." Also the answer to a leader of an earlier term, which
 * learns from `term` that it is deposed; the other fields are 0 then.
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
  /** Never beyond what the receiver is known to hold. */
  readonly commit: number;
  /** The leader's newest read round, see read-index.ts. */
  readonly round: number;
}

export interface HeartbeatReply extends Envelope {
  readonly type: "heartbeatReply";
  readonly round: number;
}

/**
 * The log the receiver needs is gone. The shell sends its newest snapshot file, which must be the
 * one of `meta` or a later one (then with that one's meta), and the receiving shell steps this
 * message when it holds the whole file and has checked it.
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

/**
 * Proposals on their way to the leader. One that does not arrive is lost; its proposer times out.
 */
export interface Forward extends Envelope {
  readonly type: "forward";
  readonly proposals: readonly ForwardedProposal[];
}

export interface NumberedProposal extends ForwardedProposal {
  /** Its proposer's own, not 0; never used for another one. */
  readonly number: number;
}

/**
 * Proposals for the leader of this very term, who takes each once, however often it is sent. So one
 * that may be lost can be sent again; and once an entry of a later term is committed, who does not
 * see it in the log before that knows that it never will be.
 */
export interface ForwardOnce extends Envelope {
  readonly type: "forwardOnce";
  /** The proposer's, since its start: numbers of two lives say nothing of each other. Not 0. */
  readonly life: number;
  /** Proposals with lower numbers will not be sent again. */
  readonly oldest: number;
  readonly proposals: readonly NumberedProposal[];
}

/** A follower's batch of reads wants an index. Repeated until answered. */
export interface ReadIndex extends Envelope {
  readonly type: "readIndex";
  readonly request: number;
}

export interface ReadIndexReply extends Envelope {
  readonly type: "readIndexReply";
  readonly request: number;
  readonly index: number;
}

/** A follower passes on the wish that `target` should lead. */
export interface Transfer extends Envelope {
  readonly type: "transfer";
  readonly target: bigint;
}
