import { assert } from "../lib/assert.js";
import { ENTRY_BYTES_MAX, type WalEntry, type WalHardState } from "../messages/log-entry.js";
import { PAYLOAD_BYTES_MAX } from "./record.js";

/**
 * Payloads of the records. Integers are little-endian, u64 below 2^53 except for the vote.
 *
 * RECORD_BATCH: entries that follow one another, under one checksum.
 *
 *   offset  bytes  field
 *   0       8      firstIndex  of its entries; replaces what the log held from there on. 0 if none
 *   8       4      entryCount
 *   12      4      flags       1: a hard state follows the entries
 *   16      ...    entries, each: length u32, type u8, three zeros, term u64, then `length` bytes
 *   then    24     hard state: term u64, vote u64, commit u64
 *
 * RECORD_SNAPSHOT: the log restarts after a snapshot that another member sent.
 *
 *   0       8      index
 *   8       8      term
 */
export const BATCH_HEADER_BYTES = 16;
export const ENTRY_HEADER_BYTES = 16;
export const HARD_STATE_BYTES = 24;
export const SNAPSHOT_MARK_BYTES = 16;
const HAS_HARD_STATE = 1;

assert(
  BATCH_HEADER_BYTES + ENTRY_HEADER_BYTES + ENTRY_BYTES_MAX + HARD_STATE_BYTES <= PAYLOAD_BYTES_MAX,
  "the largest entry fits into a record",
);

export interface Batch {
  /** Undefined in a batch without entries. */
  readonly first: LogPosition | undefined;
  readonly last: LogPosition | undefined;
  /** The last entry that was checked and dropped. */
  readonly dropped: LogPosition | undefined;
  /** The remaining entries. Their data are views into the payload. */
  readonly entries: readonly WalEntry[];
  readonly hardState: WalHardState | undefined;
}

/** An index and a term; 0 and 0 before the first entry. */
export interface LogPosition {
  readonly index: number;
  readonly term: number;
}

export function writeBatchHeader(
  view: DataView,
  at: number,
  firstIndex: number,
  entryCount: number,
  hasHardState: boolean,
): void {
  assert(entryCount === 0 || firstIndex > 0, "a batch of entries has a first index");
  assert(entryCount > 0 || hasHardState, "a batch holds something");
  writeU64(view, at, firstIndex);
  view.setUint32(at + 8, entryCount, true);
  view.setUint32(at + 12, hasHardState ? HAS_HARD_STATE : 0, true);
}

/** @param dataBytes length of the data that follows at `at + ENTRY_HEADER_BYTES` */
export function writeEntryHeader(
  view: DataView,
  at: number,
  term: number,
  type: number,
  dataBytes: number,
): void {
  assert(dataBytes <= ENTRY_BYTES_MAX, "an entry's data is within limits");
  view.setUint32(at, dataBytes, true);
  view.setUint32(at + 4, type, true); // The type is a u8, so this writes its three zeros as well.
  writeU64(view, at + 8, term);
}

export function encodeHardState(view: DataView, at: number, hardState: WalHardState): void {
  assert(BigInt.asUintN(64, hardState.vote) === hardState.vote, "a vote is a u64");
  writeU64(view, at, hardState.term);
  view.setBigUint64(at + 8, hardState.vote, true);
  writeU64(view, at + 16, hardState.commit);
}

export function writeSnapshotMark(view: DataView, at: number, mark: LogPosition): void {
  assert(mark.index > 0, "a snapshot holds an entry at least");
  writeU64(view, at, mark.index);
  writeU64(view, at + 8, mark.term);
}

/**
 * @param keepFromIndex entries before it are checked and dropped: most of a log lies before its
 *   snapshot, and making objects of entries is most of the cost of replay
 * @returns an error text if the payload is not a valid batch
 */
export function decodeBatch(payload: Uint8Array, keepFromIndex: number): Batch | string {
  assert(keepFromIndex >= 0, "an index is not negative");
  if (payload.length < BATCH_HEADER_BYTES) return "the batch is too short";
  const view = new DataView(payload.buffer, payload.byteOffset, payload.length);
  const firstIndex = readU64(view, 0);
  const entryCount = view.getUint32(8, true);
  const flags = view.getUint32(12, true);
  if (firstIndex === undefined || flags > HAS_HARD_STATE) return "the batch header is out of range";
  if (entryCount > 0 && firstIndex === 0) return "a batch has entries, but no first index";
  const end = payload.length - (flags === HAS_HARD_STATE ? HARD_STATE_BYTES : 0);
  const entries: WalEntry[] = [];
  const dropCount = Math.min(Math.max(keepFromIndex - firstIndex, 0), entryCount);
  let firstTerm = 0;
  let droppedTerm = 0;
  let lastTerm = 0;
  let at = BATCH_HEADER_BYTES;
  for (let i = 0; i < entryCount; i++) {
    if (at + ENTRY_HEADER_BYTES > end) return "an entry reaches past its batch";
    const length = view.getUint32(at, true);
    const term = readU64(view, at + 8);
    const dataAt = at + ENTRY_HEADER_BYTES;
    if (term === undefined) return "an entry's term is out of range";
    if (length > end - dataAt) return "an entry reaches past its batch";
    if (i === 0) firstTerm = term;
    lastTerm = term;
    if (i < dropCount) droppedTerm = term;
    else {
      // Not subarray(): a Buffer's makes another Buffer, which takes three times as long.
      const data = new Uint8Array(payload.buffer, payload.byteOffset + dataAt, length);
      entries.push({ index: firstIndex + i, term, type: view.getUint8(at + 4), data });
    }
    at = dataAt + length;
  }
  if (at !== end) return "the batch is longer than its entries";
  let hardState: WalHardState | undefined;
  if (flags === HAS_HARD_STATE) {
    const term = readU64(view, at);
    const commit = readU64(view, at + 16);
    if (term === undefined || commit === undefined) return "the hard state is out of range";
    hardState = { term, vote: view.getBigUint64(at + 8, true), commit };
  }
  assert(dropCount + entries.length === entryCount, "an entry is either dropped or kept");
  const place = (count: number, term: number) =>
    count === 0 ? undefined : { index: firstIndex + count - 1, term };
  return {
    first: entryCount === 0 ? undefined : { index: firstIndex, term: firstTerm },
    last: place(entryCount, lastTerm),
    dropped: place(dropCount, droppedTerm),
    entries,
    hardState,
  };
}

/** @returns an error text if the payload is not a valid mark */
export function decodeSnapshotMark(payload: Uint8Array): LogPosition | string {
  if (payload.length !== SNAPSHOT_MARK_BYTES) return "the snapshot mark has the wrong length";
  const view = new DataView(payload.buffer, payload.byteOffset, payload.length);
  const index = readU64(view, 0);
  const term = readU64(view, 8);
  if (index === undefined || term === undefined) return "the snapshot mark is out of range";
  return { index, term };
}

export function writeU64(view: DataView, at: number, value: number): void {
  assert(Number.isSafeInteger(value) && value >= 0, "an index or a term is in 0 .. 2^53 - 1");
  view.setUint32(at, value >>> 0, true);
  view.setUint32(at + 4, Math.floor(value / 2 ** 32), true);
}

/** @returns undefined from 2^53 on */
export function readU64(view: DataView, at: number): number | undefined {
  const value = view.getUint32(at + 4, true) * 2 ** 32 + view.getUint32(at, true);
  return Number.isSafeInteger(value) ? value : undefined;
}
