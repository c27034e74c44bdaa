import { assert } from "../lib/assert.js";
import { crc32c } from "./crc.js";

/**
 * WAL record. Integers are little-endian; a record starts on a multiple of 16 bytes.
 *
 *   offset  bytes  field
 *   0       4      length    of the payload, 1 .. PAYLOAD_BYTES_MAX
 *   4       4      type      RecordType
 *   8       4      crc       CRC-32C of the payload, seeded with the crc of the record before
 *   12      4      headCrc   CRC-32C of bytes 0 .. 11
 *   16      n      payload, then zeros up to a multiple of 16
 *
 * Where the log ends. A segment reads as zeros where it was not written: zeros are written ahead of the
 * records, and what lies behind those zeros is a hole or beyond the end of the file, which is as good as
 * zeros. Between two fsyncs the disk may write the 512-byte sectors in any order, or not:
 *   1. header all zero: end. What follows was never synced.
 *   2. header damaged: corrupt, as no header crosses a sector.
 *   3. payload damaged, a sector of it blank: torn, never acknowledged; the log ends here.
 *   4. payload damaged otherwise: corrupt; the member must not start.
 * 1 and 3 hold in the last segment only: a next one is made when this one is synced.
 */
export const RECORD_HEAD_BYTES = 16;
export const RECORD_ALIGN_BYTES = 16;
export const SECTOR_BYTES = 512;
export const PAYLOAD_BYTES_MAX = 64 * 1024 * 1024;

export const RecordType = {
  /** Entries, one behind the other: f64 index, f64 term, u32 type, u32 data bytes, data. */
  entries: 1,
  /** f64 term, f64 commit, u64 vote. */
  hardState: 2,
} as const;
export type RecordType = (typeof RecordType)[keyof typeof RecordType];

export type Scan =
  | { readonly kind: "end" }
  | { readonly kind: "torn" }
  | { readonly kind: "corrupt"; readonly why: string }
  | {
      readonly kind: "record";
      readonly type: number;
      readonly payload: Buffer;
      readonly crc: number;
      /** Where the next record starts. */
      readonly next: number;
    };

/** Bytes a record with this payload takes. */
export function recordBytes(payloadBytes: number): number {
  const bytes = RECORD_HEAD_BYTES + payloadBytes;
  return Math.ceil(bytes / RECORD_ALIGN_BYTES) * RECORD_ALIGN_BYTES;
}

/**
 * Completes a record whose payload already stands in `bytes` behind room for the header.
 *
 * @returns the record's crc, which seeds the next one's
 */
export function sealRecord(
  bytes: Buffer,
  at: number,
  payloadBytes: number,
  type: RecordType,
  crcBefore: number,
): number {
  assert(payloadBytes > 0 && payloadBytes <= PAYLOAD_BYTES_MAX, "the payload is in its limits");
  const start = at + RECORD_HEAD_BYTES;
  const crc = crc32c(bytes.subarray(start, start + payloadBytes), crcBefore);
  bytes.writeUInt32LE(payloadBytes, at);
  bytes.writeUInt32LE(type, at + 4);
  bytes.writeUInt32LE(crc, at + 8);
  bytes.writeUInt32LE(crc32c(bytes.subarray(at, at + 12), 0), at + 12);
  bytes.fill(0, start + payloadBytes, at + recordBytes(payloadBytes));
  return crc;
}

/**
 * Reads the record at `at`.
 *
 * @param segment the whole file; the result's payload is a view into it
 * @param crcBefore crc of the record before it, or what the segment's header says
 */
export function scanRecord(segment: Buffer, at: number, crcBefore: number): Scan {
  assert(at % RECORD_ALIGN_BYTES === 0, "a record starts on a multiple of 16");
  const head = segment.subarray(at, at + RECORD_HEAD_BYTES);
  if (isBlank(head)) return { kind: "end" };
  if (head.length < RECORD_HEAD_BYTES) return { kind: "corrupt", why: "the file ends in a header" };
  if (crc32c(head.subarray(0, 12), 0) !== head.readUInt32LE(12)) {
    return { kind: "corrupt", why: "header checksum differs" };
  }
  const length = head.readUInt32LE(0);
  if (length === 0 || length > PAYLOAD_BYTES_MAX) {
    return { kind: "corrupt", why: `a payload of ${length} bytes is impossible` };
  }
  const start = at + RECORD_HEAD_BYTES;
  const payload = segment.subarray(start, start + length);
  const crc = head.readUInt32LE(8);
  if (payload.length === length && crc32c(payload, crcBefore) === crc) {
    const next = at + recordBytes(length);
    if (!isBlank(segment.subarray(start + length, next))) {
      return { kind: "corrupt", why: "the bytes behind the payload are not zero" };
    }
    return { kind: "record", type: head.readUInt32LE(4), payload, crc, next };
  }
  if (payload.length < length || hasBlankSector(segment, start, start + length)) {
    return { kind: "torn" };
  }
  return { kind: "corrupt", why: "payload checksum differs" };
}

/** Whether the part of some sector that lies in start .. end - 1 is all zero. */
function hasBlankSector(segment: Buffer, start: number, end: number): boolean {
  for (let at = start; at < end; ) {
    const sectorEnd = Math.min(end, (Math.floor(at / SECTOR_BYTES) + 1) * SECTOR_BYTES);
    // The header stands in the first sector, which therefore was written.
    const isFirst = Math.floor(at / SECTOR_BYTES) === Math.floor((start - 1) / SECTOR_BYTES);
    if (!isFirst && isBlank(segment.subarray(at, sectorEnd))) return true;
    at = sectorEnd;
  }
  return false;
}

export function isBlank(bytes: Uint8Array): boolean {
  for (const byte of bytes) if (byte !== 0) return false;
  return true;
}
