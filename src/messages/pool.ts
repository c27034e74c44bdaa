/**
 * Messages between core and pool: layouts, encoders and decoders. Integers are little-endian.
 *
 * A job is a head, its data and an end, and has exactly one outcome. The core starts a job only
 * after the outcome of the previous one.
 */
import type { Outlet } from "../ring/fragments.js";
import type { RecordCursor } from "../ring/record-cursor.js";

/** Core to pool. */
export const JobType = {
  /** Head of a job: write a snapshot file from the following blocks. */
  snapshot: 1,
  /** The payload is the snapshot's next block. */
  block: 2,
  /** The snapshot is complete. No payload. */
  end: 3,
} as const;
export type JobType = (typeof JobType)[keyof typeof JobType];

/** Pool to core: how a job ended. */
export const OutcomeType = {
  /** The snapshot file is durable under its final name. */
  saved: 1,
  /** Writing failed; the rest of the job was drained from the ring. */
  failed: 2,
} as const;
export type OutcomeType = (typeof OutcomeType)[keyof typeof OutcomeType];

/**
 *   offset  bytes  snapshot
 *   0       8      term of the last entry that it covers, f64
 *   8       8      index of that entry, f64
 *   16      4      format level of the cluster, u32: the file has the newest version that it allows
 *   20      4      zero
 *   24      -      metadata of the file
 */
export interface SnapshotJobHead {
  readonly term: number;
  readonly index: number;
  readonly formatLevel: number;
  readonly metadata: Uint8Array;
}
const SNAPSHOT_HEAD_BYTES = 24;

export function writeSnapshotJob(outlet: Outlet, head: SnapshotJobHead): void {
  const { term, index, formatLevel, metadata } = head;
  const length = SNAPSHOT_HEAD_BYTES + metadata.length;
  outlet.open(length);
  const { bytes, view, at } = outlet;
  view.setFloat64(at, term, true);
  view.setFloat64(at + 8, index, true);
  view.setUint32(at + 16, formatLevel, true);
  view.setUint32(at + 20, 0, true);
  bytes.set(metadata, at + SNAPSHOT_HEAD_BYTES);
  outlet.close(JobType.snapshot, length);
}

/** Copies the metadata. */
export function readSnapshotJob(record: RecordCursor<JobType>): SnapshotJobHead {
  return {
    term: record.f64(0),
    index: record.f64(8),
    formatLevel: record.u32(16),
    metadata: Buffer.from(record.bytes(SNAPSHOT_HEAD_BYTES)),
  };
}

/**
 *   offset  bytes  saved
 *   0       8      index of the oldest snapshot that is kept, f64: the log is needed from there on
 *   8       8      seconds from the job's head to its end, f64
 *   16      4      n, the number of fdatasyncs of the file, u32
 *   20      4      zero
 *   24      8 n    seconds of each, f64
 *   24+8n   -      why old snapshots could not be removed, UTF-8; empty if all were
 */
export interface SavedSnapshot {
  readonly oldestIndex: number;
  readonly seconds: number;
  readonly flushSeconds: readonly number[];
  readonly unremoved: string;
}
const SAVED_HEAD_BYTES = 24;

export function writeSaved(outlet: Outlet, saved: SavedSnapshot): void {
  const { oldestIndex, seconds, flushSeconds, unremoved } = saved;
  const text = Buffer.from(unremoved);
  const textAt = SAVED_HEAD_BYTES + 8 * flushSeconds.length;
  const length = textAt + text.length;
  outlet.open(length);
  const { bytes, view, at } = outlet;
  view.setFloat64(at, oldestIndex, true);
  view.setFloat64(at + 8, seconds, true);
  view.setUint32(at + 16, flushSeconds.length, true);
  view.setUint32(at + 20, 0, true);
  for (const [i, flush] of flushSeconds.entries()) {
    view.setFloat64(at + SAVED_HEAD_BYTES + 8 * i, flush, true);
  }
  bytes.set(text, at + textAt);
  outlet.close(OutcomeType.saved, length);
}

export function readSaved(record: RecordCursor<OutcomeType>): SavedSnapshot {
  const flushes = record.u32(16);
  return {
    oldestIndex: record.f64(0),
    seconds: record.f64(8),
    flushSeconds: Array.from({ length: flushes }, (_, i) => record.f64(SAVED_HEAD_BYTES + 8 * i)),
    unremoved: record.utf8(SAVED_HEAD_BYTES + 8 * flushes),
  };
}

/**
 *   offset  bytes  failed
 *   0       1      1: space, descriptors or memory were lacking; 0: the disk fails or is gone
 *   1       7      zero
 *   8       -      why, UTF-8
 */
export interface FailedSnapshot {
  readonly isForWant: boolean;
  readonly why: string;
}
const FAILED_HEAD_BYTES = 8;

export function writeFailed(outlet: Outlet, { isForWant, why }: FailedSnapshot): void {
  const text = Buffer.from(why);
  const length = FAILED_HEAD_BYTES + text.length;
  outlet.open(length);
  const { bytes, at } = outlet;
  bytes.fill(0, at, at + FAILED_HEAD_BYTES);
  bytes.writeUInt8(isForWant ? 1 : 0, at);
  bytes.set(text, at + FAILED_HEAD_BYTES);
  outlet.close(OutcomeType.failed, length);
}

export function readFailed(record: RecordCursor<OutcomeType>): FailedSnapshot {
  return { isForWant: record.u8(0) === 1, why: record.utf8(FAILED_HEAD_BYTES) };
}
