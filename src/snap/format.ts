import { assert } from "../lib/assert.js";
import { crc32c } from "../storage/crc32c.js";
import { CorruptSnapshotError, ForeignDataDirError } from "../storage/errors.js";

/**
 * Snapshot file, `<term 16 hex>-<index 16 hex>.snap`. Integers are little-endian.
 *
 *   offset  bytes  field
 *   0       8      magic      "ringdSNP"
 *   8       4      version    1, or 2 with a head of format level, machines and cluster time
 *   12      4      zero
 *   16      8      term       of the last entry the snapshot holds
 *   24      8      index      of the same
 *   32      12     readBy     version of ringd that reads it, ASCII, zeros; version 1: all zero
 *   44      4      crc        CRC-32C of bytes 0 .. 43; seeds the crc of the first block
 *   48      ...    blocks: one of metadata, any number of data, one end; then the file ends
 *
 * Block:
 *
 *   0       4      length     of the payload, 0 .. BLOCK_BYTES_MAX
 *   4       4      kind       1 metadata, 2 data, 3 end
 *   8       4      crc        CRC-32C of the payload, seeded with the crc of the block before
 *   12      4      headCrc    CRC-32C of bytes 0 .. 11
 *   16      n      payload; of the end: number of data blocks u64, their bytes u64
 *
 * A snapshot gets its name once all of it is on disk, so unlike a log it is never torn: any
 * mismatch is damage.
 *
 * A saved snapshot, which is not the member's own (stream.ts), has the same blocks and one more:
 *
 *   kind 4, hash: SHA-256 of all bytes before the block
 */
export const SNAPSHOT_HEADER_BYTES = 48;
export const BLOCK_HEADER_BYTES = 16;
export const BLOCK_BYTES_MAX = 32 * 2 ** 20;
export const SNAPSHOT_FORMAT = 2;
/** The first ringd that reads SNAPSHOT_FORMAT, stored so that older ones can name it. */
const READ_BY = "0.2.0";
const READ_BY_AT = 32;
export const BLOCK_CRC_AT = 8;
export const END_BYTES = 16;
const MAGIC = "ringdSNP";
const CRC_AT = 44;

/** Suffix of an unfinished snapshot; removed at the next start. */
export const SNAPSHOT_TEMPORARY_SUFFIX = ".snap.tmp";

export const BLOCK_METADATA = 1;
export const BLOCK_DATA = 2;
export const BLOCK_END = 3;
export const BLOCK_HASH = 4;
export type BlockKind =
  | typeof BLOCK_METADATA
  | typeof BLOCK_DATA
  | typeof BLOCK_END
  | typeof BLOCK_HASH;
export const HASH_BYTES = 32;

/** The last entry that a snapshot holds. */
export interface SnapshotId {
  readonly term: number;
  readonly index: number;
}

/** A snapshot, and its file's name. */
export interface NamedSnapshot extends SnapshotId {
  readonly file: string;
}

export interface BlockHeader {
  readonly kind: BlockKind;
  readonly length: number;
  readonly crc: number;
}

export function snapshotName({ term, index }: SnapshotId): string {
  return `${hex16(term)}-${hex16(index)}.snap`;
}

/** @returns undefined for a name that is not a snapshot's */
function parseSnapshotName(name: string): SnapshotId | undefined {
  const match = /^([0-9a-f]{16})-([0-9a-f]{16})\.snap$/.exec(name);
  if (match === null) return undefined;
  return {
    term: Number.parseInt(match[1] as string, 16),
    index: Number.parseInt(match[2] as string, 16),
  };
}

/**
 * The snapshots among the names of a directory, oldest first: by index, then term.
 *
 * @param names in any order
 */
export function orderSnapshots(names: readonly string[]): NamedSnapshot[] {
  return names
    .flatMap((file) => {
      const id = parseSnapshotName(file);
      return id === undefined ? [] : [{ ...id, file }];
    })
    .sort((a, b) => a.index - b.index || a.term - b.term);
}

/** @returns the header, and the crc that seeds the first block */
export function encodeSnapshotHeader(
  { term, index }: SnapshotId,
  version: number,
): { bytes: Uint8Array; crc: number } {
  assert(version >= 1 && version <= SNAPSHOT_FORMAT, "a snapshot's version is one that is known");
  assert(Number.isSafeInteger(term) && term >= 0, "a term is a safe integer");
  assert(Number.isSafeInteger(index) && index >= 0, "an index is a safe integer");
  const bytes = new Uint8Array(SNAPSHOT_HEADER_BYTES);
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < MAGIC.length; i++) bytes[i] = MAGIC.charCodeAt(i);
  view.setUint32(8, version, true);
  for (let i = 0; version > 1 && i < READ_BY.length; i++) {
    bytes[READ_BY_AT + i] = READ_BY.charCodeAt(i);
  }
  view.setBigUint64(16, BigInt(term), true);
  view.setBigUint64(24, BigInt(index), true);
  const crc = crc32c(bytes.subarray(0, CRC_AT), 0);
  view.setUint32(CRC_AT, crc, true);
  return { bytes, crc };
}

/**
 * @param bytes the beginning of the file, up to SNAPSHOT_HEADER_BYTES
 * @param file for messages
 * @throws CorruptSnapshotError, ForeignDataDirError for a newer version
 */
export function decodeSnapshotHeader(
  bytes: Uint8Array,
  file: string,
): SnapshotId & { crc: number } {
  if (bytes.length < SNAPSHOT_HEADER_BYTES) {
    throw new CorruptSnapshotError(file, bytes.length, "the header is truncated");
  }
  for (let i = 0; i < MAGIC.length; i++) {
    if (bytes[i] !== MAGIC.charCodeAt(i)) {
      throw new CorruptSnapshotError(file, i, "this is not a ringd snapshot");
    }
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, SNAPSHOT_HEADER_BYTES);
  const crc = view.getUint32(CRC_AT, true);
  if (crc32c(bytes.subarray(0, CRC_AT), 0) !== crc) {
    throw new CorruptSnapshotError(file, 0, "the header's checksum differs");
  }
  const version = view.getUint32(8, true);
  if (version < 1 || version > SNAPSHOT_FORMAT) {
    const named = asciiOf(bytes.subarray(READ_BY_AT, CRC_AT));
    const reader = named === "" ? "a newer ringd" : `ringd ${named} or later`;
    throw new ForeignDataDirError(
      file,
      `its format version is ${version}, which ${reader} reads; this ringd reads up to ${SNAPSHOT_FORMAT}`,
    );
  }
  const term = Number(view.getBigUint64(16, true));
  const index = Number(view.getBigUint64(24, true));
  if (!Number.isSafeInteger(term) || !Number.isSafeInteger(index)) {
    throw new CorruptSnapshotError(file, 16, "its term or index is out of range");
  }
  return { term, index, crc };
}

/** @returns the block's header, whose crc seeds the next block */
export function encodeBlockHeader(
  kind: BlockKind,
  payload: Uint8Array,
  crcBefore: number,
): { bytes: Uint8Array; crc: number } {
  assert(payload.length <= BLOCK_BYTES_MAX, "a block is within its limit");
  const bytes = new Uint8Array(BLOCK_HEADER_BYTES);
  const view = new DataView(bytes.buffer);
  const crc = crc32c(payload, crcBefore);
  view.setUint32(0, payload.length, true);
  view.setUint32(4, kind, true);
  view.setUint32(BLOCK_CRC_AT, crc, true);
  view.setUint32(12, crc32c(bytes.subarray(0, 12), 0), true);
  return { bytes, crc };
}

/** @throws CorruptSnapshotError */
export function decodeBlockHeader(bytes: Uint8Array, file: string, atBytes: number): BlockHeader {
  if (bytes.length < BLOCK_HEADER_BYTES) {
    throw new CorruptSnapshotError(file, atBytes, "the file is truncated");
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, BLOCK_HEADER_BYTES);
  if (crc32c(bytes.subarray(0, 12), 0) !== view.getUint32(12, true)) {
    throw new CorruptSnapshotError(file, atBytes, "the block header's checksum differs");
  }
  const length = view.getUint32(0, true);
  const kind = view.getUint32(4, true);
  if (length > BLOCK_BYTES_MAX) {
    throw new CorruptSnapshotError(file, atBytes, `block length ${length} is out of range`);
  }
  if (!isBlockKind(kind)) {
    throw new CorruptSnapshotError(file, atBytes, `block kind ${kind} is unknown`);
  }
  return { kind, length, crc: view.getUint32(BLOCK_CRC_AT, true) };
}

function isBlockKind(kind: number): kind is BlockKind {
  return kind >= BLOCK_METADATA && kind <= BLOCK_HASH;
}

export function encodeEnd(blockCount: number, dataBytes: number): Uint8Array {
  const bytes = new Uint8Array(END_BYTES);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, BigInt(blockCount), true);
  view.setBigUint64(8, BigInt(dataBytes), true);
  return bytes;
}

/** True if the end block's counts match those read. */
export function endMatches(payload: Uint8Array, blockCount: number, dataBytes: number): boolean {
  const want = encodeEnd(blockCount, dataBytes);
  return payload.length === want.length && want.every((byte, i) => byte === payload[i]);
}

function asciiOf(bytes: Uint8Array): string {
  return [...bytes]
    .filter((byte) => byte > 0x20 && byte < 0x7f)
    .map((byte) => String.fromCharCode(byte))
    .join("");
}

function hex16(value: number): string {
  return value.toString(16).padStart(16, "0");
}
