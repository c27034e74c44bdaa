import { AssertionError, assert } from "../lib/assert.js";
import { crc32c } from "../storage/crc32c.js";

/**
 * WAL record. Integers are little-endian; a record starts on a multiple of 16 bytes of its file.
 *
 *   offset  bytes  field
 *   0       4      length    of the payload, 1 .. PAYLOAD_BYTES_MAX
 *   4       1      type      RECORD_BATCH or RECORD_SNAPSHOT
 *   5       1      flags     1: everything before this record was durable when it was written
 *   6       2      mask      0, or a word that is XORed over the payload (see below)
 *   8       4      crc       CRC-32C of the payload as it lies on disk, seeded with the crc of the
 *                            record before, or of the segment header
 *   12      4      headCrc   CRC-32C of bytes 0 .. 11, seeded with the crc of the segment header
 *   16      n      payload, then zeros up to a multiple of 16
 *
 * Segments of version 1 have no flags, and nothing seeds the headCrc.
 *
 * Where the log ends, if every byte past the last synced record reads as zero or lies past the end
 * of the file, and the disk may write the 512-byte sectors between two fsyncs in any order:
 *   1. Header all zero, or truncated by the end of the file: end.
 *   2. Header damaged: corrupt, as no header crosses a sector.
 *   3. Payload damaged, and a sector of it blank or past the end of the file: torn, never
 *      acknowledged; cut here, zero what follows.
 *   4. Payload damaged otherwise: corrupt; the member must not start.
 *   5. A flagged record anywhere after the end, or after a torn record: what is missing before it
 *      was durable and acknowledged, and the disk has lost it: corrupt (not in version 1).
 *
 * Rule 5 searches for record headers at every multiple of 16. No client can forge one within an
 * entry, as its crc is seeded with random bits of the segment header.
 *
 * Rule 3 requires that no sector of a complete record is blank: else one flipped bit in a record
 * with a long run of zeros would pass for a torn write, and acknowledged entries would be
 * truncated. So the part of a payload in each sector, except the header's, has at least two bits
 * set (two, as one may flip). A payload that lacks them is XORed with a mask word that sets them;
 * almost none needs it, and the check reads a byte or two per sector.
 *
 * No such rule can tell a torn tail from a whole sector of the last synced records that reads back
 * as zeros, in the last segment. In earlier segments the chain of crcs detects that, too.
 */
export const RECORD_HEADER_BYTES = 16;
export const RECORD_ALIGN_BYTES = 16;
export const SECTOR_BYTES = 512;
/**
 * An entry of 16 MiB and the batch around it. See `chooseMask` for why it must stay below 30 MiB.
 */
export const PAYLOAD_BYTES_MAX = 17 * 2 ** 20;

/** Entries and a hard state: batch.ts. */
export const RECORD_BATCH = 1;
/** The log before this is replaced by a snapshot: batch.ts. */
export const RECORD_SNAPSHOT = 2;
export type RecordType = typeof RECORD_BATCH | typeof RECORD_SNAPSHOT;

/** The form of record headers, which depends on the segment. */
export interface RecordForm {
  readonly hasFlags: boolean;
  /** Seed of every headCrc. */
  readonly headSeed: number;
}
const FLAG_DURABLE_BEFORE = 1;

assert(SECTOR_BYTES % RECORD_ALIGN_BYTES === 0, "no record header crosses a sector");
assert(RECORD_HEADER_BYTES === RECORD_ALIGN_BYTES, "no record header crosses a sector");

/** The result of reading at an offset of a segment. */
export type Scan =
  | { readonly kind: "end" }
  | { readonly kind: "torn" }
  | { readonly kind: "damaged"; readonly why: string }
  | {
      readonly kind: "record";
      readonly type: RecordType;
      /** Everything before this record was durable when it was written. */
      readonly isDurableBefore: boolean;
      /** A view into the segment, or a copy if it was masked. */
      readonly payload: Uint8Array;
      readonly crc: number;
      /** Offset of the next record. */
      readonly next: number;
    };

/** The next multiple of 16. */
export function alignRecord(bytes: number): number {
  assert(bytes >= 0, "a size is not negative");
  return Math.ceil(bytes / RECORD_ALIGN_BYTES) * RECORD_ALIGN_BYTES;
}

/**
 * Turns a payload in `buffer` at `at + 16` into a record at `at`: mask, checksums, header, padding.
 *
 * @param buffer has room up to `alignRecord(at + 16 + payloadBytes)`; the padding is overwritten
 * @param fileAtBytes offset of the record in its file, which decides where its sectors begin
 * @param isDurableBefore everything before it in its file is durable
 * @returns crc of the record, the seed of the next one
 */
export function sealRecord(
  buffer: Uint8Array,
  at: number,
  type: RecordType,
  payloadBytes: number,
  fileAtBytes: number,
  crcBefore: number,
  form: RecordForm,
  isDurableBefore: boolean,
): number {
  assert(fileAtBytes % RECORD_ALIGN_BYTES === 0, "a record starts on a multiple of 16");
  assert(payloadBytes > 0 && payloadBytes <= PAYLOAD_BYTES_MAX, "payload length is within limits");
  const payloadAt = at + RECORD_HEADER_BYTES;
  const end = payloadAt + payloadBytes;
  const paddedEnd = payloadAt + alignRecord(payloadBytes);
  assert(paddedEnd <= buffer.length, "the buffer has room for the record and its padding");
  const payload = buffer.subarray(payloadAt, end);
  buffer.fill(0, end, paddedEnd);
  const sectorAt = firstWholeSector(fileAtBytes);
  const mask = needsMask(payload, sectorAt) ? chooseMask(payload, sectorAt) : 0;
  if (mask !== 0) applyMask(payload, mask);
  const crc = crc32c(payload, crcBefore);
  const header = new DataView(buffer.buffer, buffer.byteOffset + at, RECORD_HEADER_BYTES);
  header.setUint32(0, payloadBytes, true);
  header.setUint8(4, type);
  header.setUint8(5, form.hasFlags && isDurableBefore ? FLAG_DURABLE_BEFORE : 0);
  header.setUint16(6, mask, true);
  header.setUint32(8, crc, true);
  header.setUint32(12, crc32c(buffer.subarray(at, at + 12), form.headSeed), true);
  return crc;
}

/**
 * Reads the record at `at`.
 *
 * @param segment whole file
 * @param at byte offset, a multiple of 16
 * @param crcBefore crc of the record before it, or of the segment header
 */
export function scanRecord(
  segment: Uint8Array,
  at: number,
  crcBefore: number,
  form: RecordForm,
): Scan {
  assert(at % RECORD_ALIGN_BYTES === 0, "a record starts on a multiple of 16");
  if (at + RECORD_HEADER_BYTES > segment.length) return { kind: "end" };
  if (isBlank(segment, at, at + RECORD_HEADER_BYTES)) return { kind: "end" };
  const header = new DataView(segment.buffer, segment.byteOffset + at, RECORD_HEADER_BYTES);
  if (crc32c(segment.subarray(at, at + 12), form.headSeed) !== header.getUint32(12, true)) {
    return { kind: "damaged", why: "header checksum differs" };
  }
  const length = header.getUint32(0, true);
  const type = header.getUint8(4);
  const flags = header.getUint8(5);
  const mask = header.getUint16(6, true);
  const crc = header.getUint32(8, true);
  if (length === 0 || length > PAYLOAD_BYTES_MAX) {
    return { kind: "damaged", why: `length ${length} is out of range` };
  }
  if (type !== RECORD_BATCH && type !== RECORD_SNAPSHOT) {
    return { kind: "damaged", why: `record type ${type} is unknown` };
  }
  if (flags > (form.hasFlags ? FLAG_DURABLE_BEFORE : 0)) {
    return { kind: "damaged", why: `flags ${flags} are unknown` };
  }
  const payloadAt = at + RECORD_HEADER_BYTES;
  const end = payloadAt + length;
  if (end > segment.length) return { kind: "torn" };
  const payload = segment.subarray(payloadAt, end);
  if (crc32c(payload, crcBefore) !== crc) {
    return hasBlankSector(segment, at, end)
      ? { kind: "torn" }
      : { kind: "damaged", why: "payload checksum differs" };
  }
  const next = alignRecord(end);
  const isDurableBefore = flags === FLAG_DURABLE_BEFORE;
  if (mask === 0) return { kind: "record", type, isDurableBefore, payload, crc, next };
  // Not slice(): a Buffer's is a view, and a start may write these bytes again.
  const unmasked = Uint8Array.from(payload);
  applyMask(unmasked, mask);
  return { kind: "record", type, isDurableBefore, payload: unmasked, crc, next };
}

/**
 * Rule 5: looks for a record that was written when everything before it was durable.
 *
 * @param from byte offset, a multiple of 16
 * @returns its offset
 */
export function findDurableMark(
  segment: Uint8Array,
  from: number,
  form: RecordForm,
): number | undefined {
  assert(from % RECORD_ALIGN_BYTES === 0, "a record starts on a multiple of 16");
  if (!form.hasFlags) return undefined;
  const view = new DataView(segment.buffer, segment.byteOffset, segment.length);
  const last = segment.length - RECORD_HEADER_BYTES;
  for (let at = from; at <= last; at += RECORD_ALIGN_BYTES) {
    if (view.getUint8(at + 5) !== FLAG_DURABLE_BEFORE) continue;
    const length = view.getUint32(at, true);
    if (length === 0 || length > PAYLOAD_BYTES_MAX) continue;
    const headCrc = view.getUint32(at + 12, true);
    if (crc32c(segment.subarray(at, at + 12), form.headSeed) === headCrc) return at;
  }
  return undefined;
}

/** True if `bytes[from .. to)` is all zeros. */
export function isBlank(bytes: Uint8Array, from: number, to: number): boolean {
  assert(to <= bytes.length, "what is looked at lies within the bytes");
  for (let i = from; i < to; i++) if (bytes[i] !== 0) return false;
  return true;
}

/** Payload offset of the first sector that holds nothing of the record's header. */
function firstWholeSector(fileAtBytes: number): number {
  const nextSector = (Math.floor(fileAtBytes / SECTOR_BYTES) + 1) * SECTOR_BYTES;
  const sectorAt = nextSector - (fileAtBytes + RECORD_HEADER_BYTES);
  assert(sectorAt >= 0, "no record header crosses a sector");
  return sectorAt;
}

/**
 * A sector that never reached the disk is blank to its end, not only up to the record's: later
 * bytes were not on disk before it either.
 */
function hasBlankSector(segment: Uint8Array, at: number, end: number): boolean {
  assert(end <= segment.length, "a record that is judged lies within its segment");
  let sector = at + RECORD_HEADER_BYTES + firstWholeSector(at);
  for (; sector < end; sector += SECTOR_BYTES) {
    if (isBlank(segment, sector, Math.min(sector + SECTOR_BYTES, segment.length))) return true;
  }
  return false;
}

function needsMask(payload: Uint8Array, sectorAt: number): boolean {
  for (let at = sectorAt; at < payload.length; at += SECTOR_BYTES) {
    if (!hasTwoBits(payload, at, Math.min(at + SECTOR_BYTES, payload.length), 0)) return true;
  }
  return false;
}

/** True if the part of the payload, once masked, has at least two bits set. Stops at the second. */
function hasTwoBits(payload: Uint8Array, from: number, to: number, mask: number): boolean {
  assert(from < to && to <= payload.length, "a sector's part of a payload has bytes");
  let bits = 0;
  for (let i = from; i < to; i++) {
    let byte = (payload[i] as number) ^ (((i & 1) === 0 ? mask : mask >>> 8) & 0xff);
    for (; byte !== 0; byte &= byte - 1) if (++bits === 2) return true;
  }
  return false;
}

/**
 * Finds a mask that leaves two bits set in every sector. One always exists: a whole sector forbids
 * at most one of the 65,535 masks (nearly 255 of its 256 words must equal it), the part in the last
 * sector 2,304 (if it is one byte), and a payload of 17 MiB has 34,817 sectors. Collects the
 * forbidden masks instead of trying each, so that no value costs more than one pass.
 */
function chooseMask(payload: Uint8Array, sectorAt: number): number {
  const forbidden = new Uint8Array(2 ** 16);
  assert(sectorAt < payload.length, "only a payload that fills a sector needs a mask");
  const tailAt = sectorAt + Math.floor((payload.length - sectorAt) / SECTOR_BYTES) * SECTOR_BYTES;
  for (let at = sectorAt; at < tailAt; at += SECTOR_BYTES) {
    // The forbidden word differs from at most one word of the sector, so it is one of the first
    // two.
    for (const wordAt of [at, at + 2]) {
      const word = (payload[wordAt] as number) | ((payload[wordAt + 1] as number) << 8);
      if (!hasTwoBits(payload, at, at + SECTOR_BYTES, word)) forbidden[word] = 1;
    }
  }
  for (let tried = 0, mask = 0xa5c3; tried < 2 ** 16; tried++, mask = (mask + 0x6b2d) & 0xffff) {
    if (mask === 0 || forbidden[mask] === 1) continue;
    if (tailAt === payload.length || hasTwoBits(payload, tailAt, payload.length, mask)) return mask;
  }
  throw new AssertionError("Broken invariant: some mask leaves no sector blank");
}

assert(
  PAYLOAD_BYTES_MAX / SECTOR_BYTES + 1 + 2304 < 2 ** 16 - 1,
  "there is a mask for every payload",
);

function applyMask(payload: Uint8Array, mask: number): void {
  assert(mask > 0 && mask <= 0xffff, "a mask is a word that changes something");
  const low = mask & 0xff;
  const high = mask >>> 8;
  for (let i = 0; i < payload.length; i += 2) payload[i] = (payload[i] as number) ^ low;
  for (let i = 1; i < payload.length; i += 2) payload[i] = (payload[i] as number) ^ high;
}
