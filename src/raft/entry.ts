/** Type of a log entry's data. Raft decodes a `confChange` only to propose or apply it. */
export const EntryType = { normal: 0, confChange: 1 } as const;
export type EntryType = (typeof EntryType)[keyof typeof EntryType];

/** One slot of the replicated log. Immutable, so `data` may be shared. */
export interface Entry {
  /** From 1, consecutive. */
  readonly index: number;
  /** Of the leader that created it. */
  readonly term: number;
  readonly type: EntryType;
  /** Opaque here. Empty in a new leader's first entry. */
  readonly data: Uint8Array;
}

/** No member: "has not voted" or "no leader known". Never a member's id. */
export const NONE = 0n;

/** Persistent state beside the log (Raft paper, figure 2). */
export interface HardState {
  readonly term: number;
  /** The candidate that received our vote in `term`, or NONE. */
  readonly vote: bigint;
  /** A lower bound: written along with other changes, never on its own. */
  readonly commit: number;
}

/** The membership. Each list ascends by id; no id is in both. */
export interface ConfState {
  /** Count for elections and commits. */
  readonly voters: readonly bigint[];
  /** Receive the log without counting for elections and commits. */
  readonly learners: readonly bigint[];
}

/** Position of a state machine snapshot in the log. */
export interface SnapshotMeta {
  /** The last entry that the snapshot contains. */
  readonly index: number;
  readonly term: number;
  /** As of `index`. */
  readonly conf: ConfState;
}
