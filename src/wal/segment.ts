import { crc32c } from "./crc.js";
import { SECTOR_BYTES } from "./record.js";

/**
 * Head of a segment file: one sector, then records (record.ts). Integers are little-endian.
 *
 *   offset  bytes  field
 *   0       8      "RINGDWAL"
 *   8       4      format version
 *   12      4      crc of the last record of the segment before; 0 in the first
 *   16      8      sequence number, f64, from 0
 *   24      8      index of the first entry that may be in it, f64
 *   32      8      member id
 *   40      8      cluster id
 *   508     4      CRC-32C of bytes 0 .. 507
 *
 * The file's name is `<sequence, 16 hex digits>-<first index, 16 hex digits>.wal`.
 */
export const SEGMENT_HEAD_BYTES = SECTOR_BYTES;
export const SEGMENT_VERSION = 1;
const MAGIC = "RINGDWAL";

export interface SegmentHead {
  readonly sequence: number;
  readonly firstIndex: number;
  readonly crcBefore: number;
  readonly memberId: bigint;
  readonly clusterId: bigint;
}

export interface SegmentName {
  readonly file: string;
  readonly sequence: number;
  readonly firstIndex: number;
}

export function segmentFile(sequence: number, firstIndex: number): string {
  return `${hex16(sequence)}-${hex16(firstIndex)}.wal`;
}

/** undefined for a name that is no segment's. */
export function parseSegmentFile(file: string): SegmentName | undefined {
  const match = /^([0-9a-f]{16})-([0-9a-f]{16})\.wal$/.exec(file);
  if (match === null) return undefined;
  return {
    file,
    sequence: Number.parseInt(match[1] as string, 16),
    firstIndex: Number.parseInt(match[2] as string, 16),
  };
}

export function writeSegmentHead(into: Buffer, head: SegmentHead): void {
  into.fill(0, 0, SEGMENT_HEAD_BYTES);
  into.write(MAGIC, 0, "latin1");
  into.writeUInt32LE(SEGMENT_VERSION, 8);
  into.writeUInt32LE(head.crcBefore, 12);
  into.writeDoubleLE(head.sequence, 16);
  into.writeDoubleLE(head.firstIndex, 24);
  into.writeBigUInt64LE(head.memberId, 32);
  into.writeBigUInt64LE(head.clusterId, 40);
  into.writeUInt32LE(crc32c(into.subarray(0, 508), 0), 508);
}

export type SegmentHeadScan =
  | { readonly kind: "head"; readonly head: SegmentHead }
  | { readonly kind: "corrupt"; readonly why: string }
  | { readonly kind: "foreign"; readonly why: string };

export function readSegmentHead(bytes: Buffer): SegmentHeadScan {
  if (bytes.length < SEGMENT_HEAD_BYTES) {
    return { kind: "corrupt", why: "the file is shorter than its header" };
  }
  if (crc32c(bytes.subarray(0, 508), 0) !== bytes.readUInt32LE(508)) {
    const isOurs = bytes.subarray(0, 8).toString("latin1") === MAGIC;
    return isOurs
      ? { kind: "corrupt", why: "header checksum differs" }
      : { kind: "foreign", why: "it is not a log of ringd" };
  }
  const version = bytes.readUInt32LE(8);
  if (version !== SEGMENT_VERSION) {
    return { kind: "foreign", why: `its format version is ${version}, not ${SEGMENT_VERSION}` };
  }
  return {
    kind: "head",
    head: {
      crcBefore: bytes.readUInt32LE(12),
      sequence: bytes.readDoubleLE(16),
      firstIndex: bytes.readDoubleLE(24),
      memberId: bytes.readBigUInt64LE(32),
      clusterId: bytes.readBigUInt64LE(40),
    },
  };
}

export function hex16(value: number): string {
  return value.toString(16).padStart(16, "0");
}
