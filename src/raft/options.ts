import { assert } from "../lib/assert.js";
import type { Entry, HardState, SnapshotMeta } from "./entry.js";

/** What the disk held at start. */
export interface Restored {
  readonly hardState: HardState;
  /**
   * Of the snapshot the store was restored from; index 0 with the first membership if there is
   * none.
   */
  readonly snapshot: SnapshotMeta;
  /**
   * The log, consecutive. It may begin before `snapshot.index`, so that slow followers need no
   * snapshot just because we restarted, and end before it, if only the snapshot reached the disk.
   */
  readonly entries: readonly Entry[];
  /** What the store contains: `snapshot.index`. */
  readonly applied: number;
}

export interface RaftOptions {
  readonly id: bigint;
  /** A follower campaigns after electionTicks .. 2 * electionTicks - 1 ticks without a leader. */
  readonly electionTicks: number;
  readonly heartbeatTicks: number;
  /**
   * Ask before campaigning, so that a member that is cut off does not raise the term (thesis, 9.6).
   */
  readonly preVote: boolean;
  /**
   * A leader that hears no majority for an election time-out steps down, and members that hear a
   * leader refuse votes (thesis, 4.2.3 and 6.2).
   */
  readonly checkQuorum: boolean;
  /** Uniform in 0 .. below - 1; below is at most 2^32. */
  readonly random: (below: number) => number;
  readonly restored: Restored;
  /** Left out ones get the default. */
  readonly limits?: Partial<RaftLimits>;
}

/** Nothing in raft grows without bound; a refused proposal or read is the shell's to answer. */
export interface RaftLimits {
  /**
   * Appends sent to one peer ahead of its answers. Few: what comes meanwhile shares the next one.
   * Measured on three members with 64 and 256 connections writing: 4 instead of 256 takes a tenth
   * less CPU time and commits a tenth more; 2 commits a third less.
   */
  readonly inflightMessagesMax: number;
  readonly inflightBytesMax: number;
  /** Entries in one append; a single entry may be larger. */
  readonly appendEntriesMax: number;
  readonly appendBytesMax: number;
  /** Committed entries in one ready; a single entry may be larger. */
  readonly committedEntriesMax: number;
  readonly committedBytesMax: number;
  /** Proposals beyond the commit index before further ones are refused. */
  readonly uncommittedEntriesMax: number;
  readonly uncommittedBytesMax: number;
  /** Proposals that a follower passes on between two readies. */
  readonly forwardProposalsMax: number;
  readonly forwardBytesMax: number;
  /** Reads waiting for an index. */
  readonly readsMax: number;
  /** Read rounds out at once. */
  readonly readRoundsMax: number;
  /** A learner may lack this many entries and still be made a voter. */
  readonly promoteLagMax: number;
  /** Settled entries that are packed together (packed-entries.ts). */
  readonly packEntries: number;
}

const KIB = 1024;
const MIB = 1024 * KIB;

export const RAFT_LIMITS: RaftLimits = Object.freeze({
  inflightMessagesMax: 4,
  inflightBytesMax: 16 * MIB,
  appendEntriesMax: 4096,
  appendBytesMax: 1 * MIB,
  committedEntriesMax: 4096,
  committedBytesMax: 4 * MIB,
  uncommittedEntriesMax: 65_536,
  uncommittedBytesMax: 256 * MIB,
  forwardProposalsMax: 4096,
  forwardBytesMax: 64 * MIB,
  readsMax: 65_536,
  readRoundsMax: 4,
  promoteLagMax: 4096,
  packEntries: 256,
});

/** The number of a member's first read request is drawn from 0 .. 2^32 - 1 times this. */
export const READ_REQUESTS_PER_LIFE = 2 ** 20;

export function checkOptions(options: RaftOptions): void {
  assert(options.id !== 0n, "a member's id is not 0");
  assert(options.heartbeatTicks >= 1, "a heartbeat takes at least a tick");
  assert(options.electionTicks > options.heartbeatTicks, "elections are rarer than heartbeats");
}
