import { assert } from "../lib/assert.js";
import type { WalHardState } from "../messages/log-entry.js";
import { crc32c } from "../storage/crc32c.js";
import { readU64, writeU64 } from "./batch.js";
import { type RecordForm, scanRecord } from "./record.js";

/**
 * WAL segment: a header of one sector, then records (record.ts), then zeros.
 *
 *   offset  bytes  field
 *   0       8      magic      "ringdWAL"
 *   8       4      version    of the format of this file, FORMAT_VERSION
 *   12      4      zero
 *   16      8      sequence   one more than the segment before
 *   24      8      firstIndex index of the entry that comes next when the segment begins
 *   32      8      prevTerm   term of the entry (or snapshot) at firstIndex - 1; 0 if there is none
 *   40      24     hard state as it was then: term, vote, commit. So older segments can be dropped
 *   64      8      member id
 *   72      8      cluster id
 *   80      4      prevCrc    crc of the last record of the segment before; 0 in the first
 *   84      4      salt       random: see rule 5 of record.ts; zero in version 1
 *   88      16     writer     version of the ringd that wrote it, ASCII, then zeros; zero in
 *                             version 1. In the same place in every later version: it names a ringd
 *                             that reads the file
 *   104     404    zero
 *   508     4      crc        CRC-32C of bytes 0 .. 507: in the same place in every version; seeds
 *                             the crc of the first record
 *
 * A segment gets its name once its header is on disk (plan.ts), so a named segment with an
 * incomplete header is damaged, never torn.
 *
 * Versions: 2 has a salt, and flags in the headers of its records. A log continues in the version
 * of its last segment until `setFormat`, as the ringd before this one reads version 1 only.
 */
export const SEGMENT_HEADER_BYTES = 512;
/** The newest version. */
export const SEGMENT_FORMAT = 2;
/** The oldest supported version. */
const FORMAT_VERSION_MIN = 1;
/** The version of this ringd, as in package.json; stored in files of the newest format. */
export const WRITER = "0.4.0";
const MAGIC = "ringdWAL";
const SALT_AT = 84;
const WRITER_AT = 88;
const WRITER_BYTES = 16;
const CRC_AT = 508;

export type FormatVersion = 1 | 2;

/** Ids are u64. Fixed by the log's first segment, whatever later flags say. */
export interface WalMetadata {
  readonly memberId: bigint;
  readonly clusterId: bigint;
}

export interface SegmentHeader {
  readonly sequence: number;
  readonly firstIndex: number;
  readonly prevTerm: number;
  readonly hardState: WalHardState;
  readonly metadata: WalMetadata;
  readonly prevCrc: number;
  readonly version: FormatVersion;
  /** A u32; 0 in version 1. */
  readonly salt: number;
}

export type SegmentHeaderScan =
  | {
      readonly kind: "header";
      readonly header: SegmentHeader;
      readonly crc: number;
    }
  /** `writer`: the version of the ringd that wrote it, if stored. */
  | { readonly kind: "newer"; readonly version: number; readonly writer: string }
  | { readonly kind: "etcd" }
  | {
      readonly kind: "damaged";
      readonly atBytes: number;
      readonly why: string;
    };

/** `<sequence>-<first index>.wal`, both 16 hexadecimal digits: sorts in the order of the log. */
export function segmentName(sequence: number, firstIndex: number): string {
  assert(sequence >= 0 && firstIndex >= 1, "segments count from 0, entries from 1");
  return `${hex16(sequence)}-${hex16(firstIndex)}.wal`;
}

/** @returns undefined for a name that is not a segment's */
export function parseSegmentName(
  name: string,
): { sequence: number; firstIndex: number } | undefined {
  const match = /^([0-9a-f]{16})-([0-9a-f]{16})\.wal$/.exec(name);
  if (match === null) return undefined;
  return {
    sequence: Number.parseInt(match[1] as string, 16),
    firstIndex: Number.parseInt(match[2] as string, 16),
  };
}

/** @returns the whole first sector, and the crc that seeds its first record */
export function encodeSegmentHeader(header: SegmentHeader): {
  bytes: Uint8Array;
  crc: number;
} {
  assert(WRITER.length <= WRITER_BYTES, "the version of this ringd fits into its field");
  assert(header.version >= 2 || header.salt === 0, "a header of version 1 has no salt");
  assert(header.sequence > 0 || header.prevCrc === 0, "no segment precedes the first");
  const { memberId, clusterId } = header.metadata;
  assert(memberId > 0n && clusterId > 0n, "a log belongs to a member of a cluster");
  const bytes = new Uint8Array(SEGMENT_HEADER_BYTES);
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < MAGIC.length; i++) bytes[i] = MAGIC.charCodeAt(i);
  view.setUint32(8, header.version, true);
  writeU64(view, 16, header.sequence);
  writeU64(view, 24, header.firstIndex);
  writeU64(view, 32, header.prevTerm);
  writeU64(view, 40, header.hardState.term);
  view.setBigUint64(48, header.hardState.vote, true);
  writeU64(view, 56, header.hardState.commit);
  view.setBigUint64(64, header.metadata.memberId, true);
  view.setBigUint64(72, header.metadata.clusterId, true);
  view.setUint32(80, header.prevCrc, true);
  if (header.version >= 2) {
    view.setUint32(SALT_AT, header.salt, true);
    for (let i = 0; i < WRITER.length; i++) bytes[WRITER_AT + i] = WRITER.charCodeAt(i);
  }
  const crc = crc32c(bytes.subarray(0, CRC_AT), 0);
  view.setUint32(CRC_AT, crc, true);
  assert(decodeSegmentHeader(bytes).kind === "header", "a segment header reads back");
  return { bytes, crc };
}

/** @param segment the file, or its beginning */
export function decodeSegmentHeader(segment: Uint8Array): SegmentHeaderScan {
  if (looksLikeEtcd(segment)) return { kind: "etcd" };
  if (segment.length < SEGMENT_HEADER_BYTES) {
    return {
      kind: "damaged",
      atBytes: segment.length,
      why: "the segment header is truncated",
    };
  }
  for (let i = 0; i < MAGIC.length; i++) {
    if (segment[i] !== MAGIC.charCodeAt(i)) {
      return {
        kind: "damaged",
        atBytes: i,
        why: "this is not a ringd log segment",
      };
    }
  }
  const view = new DataView(segment.buffer, segment.byteOffset, SEGMENT_HEADER_BYTES);
  const crc = view.getUint32(CRC_AT, true);
  if (crc32c(segment.subarray(0, CRC_AT), 0) !== crc) {
    return {
      kind: "damaged",
      atBytes: 0,
      why: "the segment header's checksum differs",
    };
  }
  const version = view.getUint32(8, true);
  if (version > SEGMENT_FORMAT) return { kind: "newer", version, writer: writerOf(segment) };
  if (version < FORMAT_VERSION_MIN) {
    return { kind: "damaged", atBytes: 8, why: `there is no format ${version}` };
  }
  const sequence = readU64(view, 16);
  const firstIndex = readU64(view, 24);
  const prevTerm = readU64(view, 32);
  const term = readU64(view, 40);
  const commit = readU64(view, 56);
  if (
    sequence === undefined ||
    firstIndex === undefined ||
    prevTerm === undefined ||
    term === undefined ||
    commit === undefined
  ) {
    return {
      kind: "damaged",
      atBytes: 16,
      why: "a number in the segment header is out of range",
    };
  }
  const hardState = { term, vote: view.getBigUint64(48, true), commit };
  const metadata = {
    memberId: view.getBigUint64(64, true),
    clusterId: view.getBigUint64(72, true),
  };
  const prevCrc = view.getUint32(80, true);
  return {
    kind: "header",
    header: {
      ...{ sequence, firstIndex, prevTerm, hardState, metadata, prevCrc },
      version: version as FormatVersion,
      salt: version >= 2 ? view.getUint32(SALT_AT, true) : 0,
    },
    crc,
  };
}

/** The form of the headers of a segment's records. @param crc of the segment header */
export function recordForm(version: FormatVersion, crc: number): RecordForm {
  assert(version >= FORMAT_VERSION_MIN && version <= SEGMENT_FORMAT, "a format that is read");
  return version >= 2 ? { hasFlags: true, headSeed: crc } : { hasFlags: false, headSeed: 0 };
}

/** Error text for a file of a newer format, with the version that can read it. */
export function newerFormat(file: string, version: number, writer: string): string {
  assert(version > SEGMENT_FORMAT, "this build reads its own format");
  const reader = writer === "" ? "" : `; ringd ${writer} reads it`;
  return `${file} was written by a newer ringd (segment format ${version}); this build reads up to ${SEGMENT_FORMAT}${reader}`;
}

function writerOf(segment: Uint8Array): string {
  let text = "";
  for (const byte of segment.subarray(WRITER_AT, WRITER_AT + WRITER_BYTES)) {
    if (byte <= 0x20 || byte >= 0x7f) break;
    text += String.fromCharCode(byte);
  }
  return text;
}

/**
 * Whether the first segment of a log holds a record that recovery would keep or reject.
 *
 * @param segment the file, or its beginning up to the end of the first record
 */
export function holdsRecord(segment: Uint8Array): boolean {
  const header = decodeSegmentHeader(segment);
  if (header.kind !== "header") return true; // Recovery reports it.
  const form = recordForm(header.header.version, header.crc);
  const { kind } = scanRecord(segment, SEGMENT_HEADER_BYTES, header.crc, form);
  return kind === "record" || kind === "damaged";
}

/**
 * etcd's log begins with a frame of type crc: a length below 2^24, a protobuf field 1 that is 4.
 */
function looksLikeEtcd(segment: Uint8Array): boolean {
  return segment.length >= 11 && segment[3] === 0 && segment[8] === 8 && segment[9] === 4;
}

function hex16(value: number): string {
  assert(Number.isSafeInteger(value) && value >= 0, "a sequence or an index is a safe integer");
  return value.toString(16).padStart(16, "0");
}
