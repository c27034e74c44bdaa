/** Messages between core and wal: layouts, encoders and decoders. Numbers are little-endian. */

import type { Entry, EntryType, HardState } from "../raft/entry.js";
import type { Outlet } from "../ring/fragments.js";
import type { RecordCursor } from "../ring/record-cursor.js";
import type { WalEntry } from "./log-entry.js";
import { writeNumbers } from "./numbers.js";

/** Core to wal. */
export const AppendType = {
  entry: 1,
  hardState: 2,
  /** f64 job: the job is complete; report when it is durable. */
  endJob: 3,
  /** f64 index: a snapshot covers the log up to it, so older segments may be deleted. */
  release: 4,
  /** Sync, close, release the lock, exit. */
  stop: 5,
  /** f64 term, f64 index: part of a job; restarts the log after a snapshot that is durable. */
  install: 6,
  /** f64 term, f64 index: send the core this snapshot, which was received from another member. */
  loadSnapshot: 7,
  /** f64 version: segment format from the next batch on. */
  format: 8,
  /** UTF-8 reason: stop accepting appends, although the WAL itself has not failed. */
  giveUp: 9,
} as const;
export type AppendType = (typeof AppendType)[keyof typeof AppendType];

/**
 * Wal to core. At start, in this order: the newest snapshot if there is one (head, blocks, end),
 * identity, entries, recovered. A snapshot requested later comes as head, blocks, and `snapshotEnd`
 * or `snapshotFailed`.
 */
export const DurableType = {
  /** u64 member id, u64 cluster id. */
  identity: 1,
  /** f64 term, f64 index, metadata from SNAPSHOT_METADATA_AT on. */
  snapshotHead: 2,
  snapshotBlock: 3,
  entry: 4,
  /** The hard state; ends the recovery. */
  recovered: 5,
  /** f64 job. */
  durable: 6,
  /** UTF-8 reason: the WAL rejects appends for now. */
  blocked: 7,
  /** UTF-8 reason: the WAL rejects appends until a restart. */
  failed: 8,
  snapshotEnd: 9,
  /** UTF-8 reason: the snapshot cannot be read. */
  snapshotFailed: 10,
  /** After `blocked`: the WAL accepts appends again. No payload. */
  unblocked: 11,
} as const;
export type DurableType = (typeof DurableType)[keyof typeof DurableType];

export const SNAPSHOT_METADATA_AT = 16;

/** f64 index, f64 term, u32 type, u32 zero, data. */
const ENTRY_HEAD_BYTES = 24;
/** Size of the blocks that decoded entries' data are carved from. */
const ENTRY_BLOCK_BYTES = 256 * 1024;

export function writeEntry(outlet: Outlet, type: number, entry: WalEntry): void {
  const { data } = entry;
  outlet.open(ENTRY_HEAD_BYTES + data.length);
  const { bytes, view, at } = outlet;
  view.setFloat64(at, entry.index, true);
  view.setFloat64(at + 8, entry.term, true);
  view.setUint32(at + 16, entry.type, true);
  view.setUint32(at + 20, 0, true);
  bytes.set(data, at + ENTRY_HEAD_BYTES);
  outlet.close(type, ENTRY_HEAD_BYTES + data.length);
}

/** What comes before an entry's data. */
export interface EntryHead {
  readonly index: number;
  readonly term: number;
  readonly type: number;
  readonly dataBytes: number;
}

export function readEntryHead(record: RecordCursor): EntryHead {
  return {
    index: record.f64(0),
    term: record.f64(8),
    type: record.u32(16),
    dataBytes: record.length - ENTRY_HEAD_BYTES,
  };
}

/** Copies an entry's data to `target` from `targetAt` on. */
export function copyEntryData(record: RecordCursor, target: Uint8Array, targetAt: number): void {
  record.copy(target, targetAt, ENTRY_HEAD_BYTES);
}

/** Decodes entries into shared blocks; a block lives as long as any of its entries. */
export class EntryReader {
  #block = Buffer.alloc(0);
  #used = 0;

  /** Copies the data. */
  read(record: RecordCursor): Entry {
    const { index, term, type, dataBytes } = readEntryHead(record);
    if (this.#used + dataBytes > this.#block.length) {
      this.#block = Buffer.allocUnsafeSlow(Math.max(ENTRY_BLOCK_BYTES, dataBytes));
      this.#used = 0;
    }
    const data = this.#block.subarray(this.#used, this.#used + dataBytes);
    this.#used += dataBytes;
    copyEntryData(record, data, 0);
    return { index, term, type: type as EntryType, data };
  }
}

export function writeSnapshotHead(
  outlet: Outlet,
  snapshot: { readonly term: number; readonly index: number; readonly metadata: Uint8Array },
): void {
  const { term, index, metadata } = snapshot;
  outlet.open(SNAPSHOT_METADATA_AT + metadata.length);
  const { bytes, view, at } = outlet;
  view.setFloat64(at, term, true);
  view.setFloat64(at + 8, index, true);
  bytes.set(metadata, at + SNAPSHOT_METADATA_AT);
  outlet.close(DurableType.snapshotHead, SNAPSHOT_METADATA_AT + metadata.length);
}

export function writeHardState(outlet: Outlet, type: number, state: HardState): void {
  outlet.open(24);
  const { view, at } = outlet;
  view.setFloat64(at, state.term, true);
  view.setFloat64(at + 8, state.commit, true);
  view.setBigUint64(at + 16, state.vote, true);
  outlet.close(type, 24);
}

export function readHardState(record: RecordCursor): HardState {
  return { term: record.f64(0), commit: record.f64(8), vote: record.u64(16) };
}

/** Sets the format of new segments, once every member reads it. Ignored if older than the log's. */
export function writeFormat(outlet: Outlet, version: number): void {
  writeNumbers(outlet, AppendType.format, version);
}

export function writeBytes(outlet: Outlet, type: number, payload: Uint8Array): void {
  outlet.open(payload.length);
  outlet.bytes.set(payload, outlet.at);
  outlet.close(type, payload.length);
}
