/** One entry of the raft log as stored in the WAL. */
export interface WalEntry {
  /** From 1, consecutive. */
  readonly index: number;
  readonly term: number;
  /** u8, opaque here; raft's EntryType. */
  readonly type: number;
  /** 0 .. ENTRY_BYTES_MAX bytes. */
  readonly data: Uint8Array;
}

/** Raft's persistent state besides its entries. */
export interface WalHardState {
  readonly term: number;
  /** Member id (u64) voted for in `term`; 0n if none. */
  readonly vote: bigint;
  /** A lower bound. In a recovered log never after the last entry. */
  readonly commit: number;
}

export const NO_HARD_STATE: WalHardState = { term: 0, vote: 0n, commit: 0 };

/** Room for a percent-decoded value of a 10 MiB form with its envelope, and some to spare. */
export const ENTRY_BYTES_MAX = 16 * 2 ** 20;
