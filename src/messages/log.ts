/** The messages between core and wal: layouts, encoders and decoders. Numbers are little-endian. */

import type { Entry, EntryType, HardState } from "../raft/entry.js";
import type { Outlet } from "../ring/fragments.js";
import type { RecordCursor } from "../ring/record-cursor.js";
import type { WalEntry } from "./log-entry.js";
import { writeNumbers } from "./numbers.js";

/** Core to wal. */
export const AppendType = {
  entry: 1,
  hardState: 2,
  /** f64 job: it is complete; report it when it is durable. */
  endJob: 3,
  /** f64 index: a snapshot covers the log up to it. */
  release: 4,
  /** Sync, close, release the lock, end. */
  stop: 5,
  /** f64 term, f64 index: part of a job; the log starts anew behind a snapshot that is durable. */
  install: 6,
  /** f64 term, f64 index: read this snapshot, which came from another member, to the core. */
  loadSnapshot: 7,
  /** f64 version: the format of the segments from the next batch on. */
  format: 8,
  /** Why the log must take nothing any more, though nothing has failed in it. */
  giveUp: 9,
} as const;
export type AppendType = (typeof AppendType)[keyof typeof AppendType];

/**
 * Wal to core. At start, in this order: the newest snapshot if there is one (head, blocks, end),
 * identity, entries, recovered. A snapshot that is asked for later comes as head, blocks, and one
 * of the last two.
 */
export const DurableType = {
  /** u64 member id, u64 cluster id. */
  identity: 1,
  /** f64 term, f64 index, metadata from SNAPSHOT_METADATA_AT on. */
  snapshotHead: 2,
  snapshotBlock: 3,
  entry: 4,
  /** The hard state; nothing else follows from the disk. */
  recovered: 5,
  /** f64 job. */
  durable: 6,
  /** Why the log takes nothing at the moment. */
  blocked: 7,
  /** Why the log takes nothing until the member is restarted. */
  failed: 8,
  snapshotEnd: 9,
  /** Why the snapshot cannot be read. */
  snapshotFailed: 10,
  /** After `blocked`: the log takes entries again. No payload. */
  unblocked: 11,
} as const;
export type DurableType = (typeof DurableType)[keyof typeof DurableType];

export const SNAPSHOT_METADATA_AT = 16;

/** f64 index, f64 term, u32 type, u32 zero, data. */
const ENTRY_HEAD_BYTES = 24;
/** What entries that are read share at a time. */
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

/** Reads entries into memory that many of them share, as long as one of them is in use. */
export class EntryReader {
  #block = Buffer.alloc(0);
  #used = 0;

  /** The data are copied. */
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

/**
 * Every member reads this format of the log: go on in it. An older one than the log has changes
 * nothing.
 */
export function writeFormat(outlet: Outlet, version: number): void {
  writeNumbers(outlet, AppendType.format, version);
}

export function writeBytes(outlet: Outlet, type: number, payload: Uint8Array): void {
  outlet.open(payload.length);
  outlet.bytes.set(payload, outlet.at);
  outlet.close(type, payload.length);
}
