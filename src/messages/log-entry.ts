/** One entry of the raft log, as the log keeps it. */
export interface WalEntry {
  /** From 1, without gaps. */
  readonly index: number;
  readonly term: number;
  /** u8; what it means is raft's. */
  readonly type: number;
  /** 0 .. ENTRY_BYTES_MAX bytes. */
  readonly data: Uint8Array;
}

/** The state raft must keep besides its entries. */
export interface WalHardState {
  readonly term: number;
  /** Member id (u64) voted for in `term`; 0n if none. */
  readonly vote: bigint;
  /** A hint: may lag behind. Never beyond the last entry of a log that was read back. */
  readonly commit: number;
}

export const NO_HARD_STATE: WalHardState = { term: 0, vote: 0n, commit: 0 };

/** A value of a 10 MiB form, percent-decoded, with its envelope, and room to spare. */
export const ENTRY_BYTES_MAX = 16 * 2 ** 20;
