import { assert } from "../lib/assert.js";
import type { Entry, HardState, SnapshotMeta } from "./entry.js";
import type { PackedEntries } from "./packed-entries.js";

/** State restored from disk at start. */
export interface Restored {
  readonly hardState: HardState;
  /**
   * Of the snapshot the store was restored from; index 0 and an empty membership if there is none.
   */
  readonly snapshot: SnapshotMeta;
  /** Committed entries from the snapshot to `entries`; undefined for none. Taken over. */
  readonly packed?: PackedEntries | undefined;
  /**
   * The log, consecutive. Unless some are packed, it may begin before `snapshot.index`, so that
   * slow followers need no snapshot just because we restarted, and end before it, if a crash kept
   * only the snapshot.
   */
  readonly entries: readonly Entry[];
  /** Last index in the restored store: `snapshot.index`. */
  readonly applied: number;
}

export interface RaftOptions {
  readonly id: bigint;
  /** A follower campaigns after electionTicks .. 2 * electionTicks - 1 ticks without a leader. */
  readonly electionTicks: number;
  readonly heartbeatTicks: number;
  /** Ask before campaigning, so that a partitioned member does not raise the term (thesis, 9.6). */
  readonly preVote: boolean;
  /**
   * A leader that hears no majority for an election timeout steps down, and members that hear a
   * leader reject votes (thesis, 4.2.3 and 6.2).
   */
  readonly checkQuorum: boolean;
  /** Uniform in 0 .. below - 1; below is at most 2^32. */
  readonly random: (below: number) => number;
  readonly restored: Restored;
  /** Missing fields get their RAFT_LIMITS value. */
  readonly limits?: Partial<RaftLimits>;
}

/** Bounds of everything in raft that grows. The shell responds to rejected proposals and reads. */
export interface RaftLimits {
  /**
   * Unacknowledged appends per peer. Few, so that entries that arrive meanwhile share the next one.
   * Measured on three members with 64 and 256 writing connections: 4 instead of 256 takes a tenth
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
  /** Uncommitted entries above which proposals are rejected. */
  readonly uncommittedEntriesMax: number;
  readonly uncommittedBytesMax: number;
  /** Proposals that a follower forwards between two readies. */
  readonly forwardProposalsMax: number;
  readonly forwardBytesMax: number;
  /** Reads waiting for an index. */
  readonly readsMax: number;
  /** Read rounds in flight. */
  readonly readRoundsMax: number;
  /** A learner may be promoted when it lacks at most this many committed entries. */
  readonly promoteLagMax: number;
  /** Entries per pack (packed-entries.ts). */
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
  // As many as a member may have open: after a change of leader, all are proposed again.
  forwardProposalsMax: 65_536,
  // Less than the queue of a stream holds (peer/link.ts), which drops the rest.
  forwardBytesMax: 48 * MIB,
  readsMax: 65_536,
  readRoundsMax: 4,
  promoteLagMax: 4096,
  packEntries: 256,
});

/** Read request numbers per incarnation. The first is a random u32 times this. */
export const READ_REQUESTS_PER_LIFE = 2 ** 20;

export function checkOptions(options: RaftOptions): void {
  const { restored } = options;
  assert(options.id !== 0n, "a member's id is not 0");
  assert(options.heartbeatTicks >= 1, "the heartbeat interval is at least one tick");
  assert(
    options.electionTicks > options.heartbeatTicks,
    "the election timeout is longer than the heartbeat interval",
  );
  assert(Number.isSafeInteger(restored.hardState.term), "a term is a safe integer");
  assert(restored.hardState.term >= 0 && restored.hardState.commit >= 0, "terms count from 0");
  const hasSnapshot = restored.snapshot.index > 0;
  assert(hasSnapshot || restored.snapshot.term === 0, "no entry precedes the first");
}

export function checkLimits(limits: RaftLimits): void {
  assert(limits.appendEntriesMax > 0 && limits.appendBytesMax > 0, "an append takes an entry");
  assert(
    limits.committedEntriesMax > 0 && limits.committedBytesMax > 0,
    "a ready takes a committed entry",
  );
  assert(
    limits.uncommittedEntriesMax > 0 && limits.uncommittedBytesMax > 0,
    "a leader takes a proposal",
  );
  assert(
    limits.forwardProposalsMax > 0 && limits.forwardBytesMax > 0,
    "a follower passes on a proposal",
  );
  assert(limits.promoteLagMax >= 0, "a lag is not negative");
}
