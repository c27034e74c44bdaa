/**
 * What a log entry carries. Raft looks into a `confChange` only when told to propose or apply it.
 */
export const EntryType = { normal: 0, confChange: 1 } as const;
export type EntryType = (typeof EntryType)[keyof typeof EntryType];

/**
 * One slot of the replicated log. Never changed once made, so threads and peers may share `data`.
 */
export interface Entry {
  /** From 1, without gaps. */
  readonly index: number;
  /** Of the leader that made it. */
  readonly term: number;
  readonly type: EntryType;
  /** Opaque here. Empty in the entry that a new leader starts its term with. */
  readonly data: Uint8Array;
}

/** No member: "has not voted", "knows no leader". No member has the id 0. */
export const NONE = 0n;

/** What must survive a crash beside the log (Raft paper, figure 2). */
export interface HardState {
  readonly term: number;
  /** Who got our vote in `term`, or NONE. */
  readonly vote: bigint;
  /** A lower bound: it is written along with other things, never for its own sake. */
  readonly commit: number;
}

/** Who replicates, ascending by id. No id is in both lists. */
export interface ConfState {
  /** Count for elections and commits. */
  readonly voters: readonly bigint[];
  /** Receive the log and do not count. */
  readonly learners: readonly bigint[];
}

/** Where a snapshot of the state machine stands in the log. */
export interface SnapshotMeta {
  /** The last entry that the snapshot contains. */
  readonly index: number;
  readonly term: number;
  /** As of `index`. */
  readonly conf: ConfState;
}
