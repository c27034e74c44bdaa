import { assert } from "../lib/assert.js";
import type { DiskOp } from "../storage/disk-op.js";
import { RECORD_ALIGN_BYTES, type RecordForm } from "./record.js";
import {
  encodeSegmentHeader,
  type FormatVersion,
  recordForm,
  type SegmentHeader,
  segmentName,
} from "./segment.js";

/*
 * The log's file operations, as lists. Durability depends on the order of each list.
 *
 * Zeros are written ahead of the records rather than a whole segment of them at once. A file that
 * grows needs its new size in the file system's journal at every datasync, a second write for each
 * batch; a file with zeros ahead needs it once every `zeroAheadBytes`. The zeros go out in the same
 * write as the batch that comes closest to their end.
 *
 * Why the torn-tail rule (record.ts) still holds at the end of the zeros: the rule asks that
 * whatever has not been synced reads as zeros or is missing. Up to the last synced zeros that is so
 * because zeros were written. Past them lies what the file system adds to a file: the size and the
 * blocks of an extension become durable with the datasync of the batch that extends, and until then
 * a crash leaves the old size, or the new one with blocks that read as zeros (no file system shows
 * what was on the disk before), or some of the sectors that were written. All of that is "blank,
 * missing or as written", and a record that reaches past the end of the file is torn by rule 3.
 */

/** Suffix of an unfinished segment; removed at the next start. */
export const SEGMENT_TEMPORARY_SUFFIX = ".tmp";
/** One zero page, larger than any step; never written to. */
const ZERO_BYTES_MAX = 8 * 2 ** 20;
let zeroPage = new Uint8Array(0);

/** @returns a view of shared zeros: do not write to it */
export function zeros(bytes: number): Uint8Array {
  assert(bytes >= 0 && bytes <= ZERO_BYTES_MAX, "zeros are written in steps of 8 MiB at most");
  if (zeroPage.length < bytes) zeroPage = new Uint8Array(bytes);
  return zeroPage.subarray(0, bytes);
}

/**
 * A new segment: whole and durable under a temporary name, then named, then its name durable. Only
 * then may a record go into it. Any of it may fail and be tried again from the start: no record is
 * involved.
 */
export function planSegment(
  header: SegmentHeader,
  zeroAheadBytes: number,
): {
  ops: DiskOp[];
  file: string;
  crc: number;
  version: FormatVersion;
  form: RecordForm;
  zeroedToBytes: number;
  temporary: string;
} {
  assert(zeroAheadBytes % RECORD_ALIGN_BYTES === 0, "zeros are whole records' places");
  const file = segmentName(header.sequence, header.firstIndex);
  const temporary = file + SEGMENT_TEMPORARY_SUFFIX;
  const { bytes, crc } = encodeSegmentHeader(header);
  const ops: DiskOp[] = [
    { op: "create", file: temporary },
    {
      op: "write",
      file: temporary,
      atBytes: 0,
      chunks: [bytes, zeros(zeroAheadBytes)],
    },
    { op: "datasync", file: temporary },
    { op: "rename", from: temporary, to: file },
    { op: "syncDirectory" },
  ];
  return {
    ops,
    file,
    crc,
    version: header.version,
    form: recordForm(header.version, crc),
    zeroedToBytes: bytes.length + zeroAheadBytes,
    temporary,
  };
}

/**
 * The records of a batch, in one write.
 *
 * @param zeroedToBytes end of the known durable zeros after `atBytes`
 * @returns the operations, and the end of the zeros once they are done
 */
export function planBatch(
  file: string,
  atBytes: number,
  records: Uint8Array,
  zeroedToBytes: number,
  zeroAheadBytes: number,
): { write: DiskOp; datasync: DiskOp; zeroedToBytes: number } {
  assert(atBytes % RECORD_ALIGN_BYTES === 0, "a record starts on a multiple of 16");
  assert(records.length > 0 && records.length % RECORD_ALIGN_BYTES === 0, "records are whole");
  const end = atBytes + records.length;
  const chunks = [records];
  let zeroedTo = zeroedToBytes;
  if (end > zeroedToBytes) {
    chunks.push(zeros(zeroAheadBytes));
    zeroedTo = end + zeroAheadBytes;
  }
  assert(zeroedTo >= end, "zeros follow the last record");
  assert(zeroedTo >= zeroedToBytes, "zeros are never taken back");
  return {
    write: { op: "write", file, atBytes, chunks },
    datasync: { op: "datasync", file },
    zeroedToBytes: zeroedTo,
  };
}

/**
 * Drops segments, oldest first. The directory is synced after each, for a crash may undo or keep
 * unsynced removals in any combination, and a gap in the middle of the log is rejected as a lost
 * file.
 */
export function planPurge(filesOldestFirst: readonly string[]): DiskOp[] {
  return filesOldestFirst.flatMap((file): DiskOp[] => [
    { op: "unlink", file },
    { op: "syncDirectory" },
  ]);
}

/**
 * Syncs the files. Redundant if this log wrote them here, but a restored backup or a moved data
 * directory may not be synced.
 */
export function planSync(files: readonly string[]): DiskOp[] {
  return files.flatMap((file): DiskOp[] => [
    { op: "datasync", file },
    { op: "close", file },
  ]);
}

/**
 * Makes the bytes read durable. After a failed sync of the process before, they may be in the page
 * cache only, marked clean, so a sync alone would succeed without effect. So everything that may
 * not be durable is rewritten, followed by zeros, which also erase remains of a crash, so that no
 * later record can join up with them. After a crash meanwhile, the next start repairs the file in
 * the same way.
 *
 * @param bytes of the file, from `fromBytes` to the end of the last record
 * @param fileBytes size of the file
 */
export function planRewrite(
  file: string,
  bytes: Uint8Array,
  fromBytes: number,
  fileBytes: number,
): DiskOp[] {
  assert(fromBytes + bytes.length <= fileBytes, "what was read is within the file");
  assert(fromBytes % RECORD_ALIGN_BYTES === 0, "a record starts on a multiple of 16");
  const ops: DiskOp[] = [];
  if (bytes.length > 0) ops.push({ op: "write", file, atBytes: fromBytes, chunks: [bytes] });
  for (let at = fromBytes + bytes.length; at < fileBytes; at += ZERO_BYTES_MAX) {
    const count = Math.min(ZERO_BYTES_MAX, fileBytes - at);
    ops.push({ op: "write", file, atBytes: at, chunks: [zeros(count)] });
  }
  ops.push({ op: "datasync", file });
  return ops;
}

/** Changes the directory, for the same reason: else its sync might have no effect. */
export function planTouch(): DiskOp[] {
  const file = `touched.wal${SEGMENT_TEMPORARY_SUFFIX}`;
  return [
    { op: "create", file },
    { op: "unlink", file },
  ];
}
