import { RingdError } from "../lib/errors.js";
import { crc32c } from "../wal/crc.js";
import { hex16 } from "../wal/segment.js";

/**
 * Snapshot file. Integers are little-endian.
 *
 *   head    8 "RINGDSNP", 4 format version, 4 metadata bytes, 8 term (f64), 8 index (f64),
 *           4 CRC-32C of the 32 bytes before, metadata, 4 CRC-32C of it
 *   block   4 length (above 0), 4 CRC-32C of the length and the payload, seeded with that of the
 *           block before (the first: of the metadata), payload
 *   end     4 zero, 4 CRC-32C of the four zeros, seeded likewise; nothing follows
 *
 * The file's name is `<term, 16 hex digits>-<index, 16 hex digits>.snap`.
 */
export const SNAPSHOT_VERSION = 1;
const MAGIC = "RINGDSNP";
const FIXED_HEAD_BYTES = 36;
/** What a reader takes for possible; a block holds one large value at most. */
export const BLOCK_BYTES_MAX = 64 * 1024 * 1024;

export class SnapshotCorruptError extends RingdError {
  override readonly name = "SnapshotCorruptError";
  readonly code = "SNAPSHOT_CORRUPT";

  constructor(file: string, atBytes: number, why: string) {
    super(
      `Cannot read snapshot ${file} at byte ${atBytes}: ${why}. ` +
        "Remove this member from its cluster and add it again with an empty data directory, or restore a backup.",
    );
  }
}

export interface SnapshotHead {
  readonly term: number;
  readonly index: number;
  readonly metadata: Buffer;
}

export function snapshotFile(term: number, index: number): string {
  return `${hex16(term)}-${hex16(index)}.snap`;
}

/** undefined for a name that is no snapshot's. */
export function parseSnapshotFile(
  file: string,
): { file: string; term: number; index: number } | undefined {
  const match = /^([0-9a-f]{16})-([0-9a-f]{16})\.snap$/.exec(file);
  if (match === null) return undefined;
  const [, term, index] = match;
  return { file, term: Number.parseInt(term ?? "", 16), index: Number.parseInt(index ?? "", 16) };
}

/** @returns the head's bytes and the crc that seeds the first block's */
export function encodeSnapshotHead(head: SnapshotHead): { bytes: Buffer; crc: number } {
  const bytes = Buffer.alloc(FIXED_HEAD_BYTES + head.metadata.length + 4);
  bytes.write(MAGIC, 0, "latin1");
  bytes.writeUInt32LE(SNAPSHOT_VERSION, 8);
  bytes.writeUInt32LE(head.metadata.length, 12);
  bytes.writeDoubleLE(head.term, 16);
  bytes.writeDoubleLE(head.index, 24);
  bytes.writeUInt32LE(crc32c(bytes.subarray(0, 32), 0), 32);
  head.metadata.copy(bytes, FIXED_HEAD_BYTES);
  const crc = crc32c(head.metadata, 0);
  bytes.writeUInt32LE(crc, FIXED_HEAD_BYTES + head.metadata.length);
  return { bytes, crc };
}

/** The eight bytes in front of a block, or, with an empty payload, the end. */
export function encodeBlockHead(
  payload: Uint8Array,
  crcBefore: number,
): { bytes: Buffer; crc: number } {
  const bytes = Buffer.alloc(8);
  bytes.writeUInt32LE(payload.length, 0);
  const crc = crc32c(payload, crc32c(bytes.subarray(0, 4), crcBefore));
  bytes.writeUInt32LE(crc, 4);
  return { bytes, crc };
}

/** Reads `bytes` at an offset; fewer come back at the end of the file. */
export type ReadAt = (atBytes: number, bytes: number) => Buffer;

/** @throws SnapshotCorruptError */
export function readSnapshotHead(
  file: string,
  read: ReadAt,
): { head: SnapshotHead; blocksAt: number; crc: number } {
  const fixed = read(0, FIXED_HEAD_BYTES);
  if (
    fixed.length < FIXED_HEAD_BYTES ||
    crc32c(fixed.subarray(0, 32), 0) !== fixed.readUInt32LE(32) ||
    fixed.toString("latin1", 0, 8) !== MAGIC
  ) {
    throw new SnapshotCorruptError(file, 0, "the header is damaged");
  }
  const version = fixed.readUInt32LE(8);
  if (version !== SNAPSHOT_VERSION) {
    throw new SnapshotCorruptError(file, 8, `format version ${version} is not ${SNAPSHOT_VERSION}`);
  }
  const metadataBytes = fixed.readUInt32LE(12);
  const rest = read(FIXED_HEAD_BYTES, metadataBytes + 4);
  const crc = crc32c(rest.subarray(0, metadataBytes), 0);
  if (rest.length < metadataBytes + 4 || rest.readUInt32LE(metadataBytes) !== crc) {
    throw new SnapshotCorruptError(file, FIXED_HEAD_BYTES, "the metadata is damaged");
  }
  return {
    head: {
      term: fixed.readDoubleLE(16),
      index: fixed.readDoubleLE(24),
      metadata: rest.subarray(0, metadataBytes),
    },
    blocksAt: FIXED_HEAD_BYTES + metadataBytes + 4,
    crc,
  };
}

/** The blocks in order, each checked. @throws SnapshotCorruptError */
export function* readBlocks(
  file: string,
  read: ReadAt,
  blocksAt: number,
  headCrc: number,
): Generator<Buffer> {
  let atBytes = blocksAt;
  let crc = headCrc;
  for (;;) {
    const head = read(atBytes, 8);
    if (head.length < 8) throw new SnapshotCorruptError(file, atBytes, "the file is cut off");
    const length = head.readUInt32LE(0);
    if (length > BLOCK_BYTES_MAX) {
      throw new SnapshotCorruptError(file, atBytes, `a block of ${length} bytes is impossible`);
    }
    const payload = read(atBytes + 8, length);
    crc = crc32c(payload, crc32c(head.subarray(0, 4), crc));
    if (payload.length < length || crc !== head.readUInt32LE(4)) {
      throw new SnapshotCorruptError(file, atBytes, "block checksum differs");
    }
    atBytes += 8 + length;
    if (length === 0) break;
    yield payload;
  }
  if (read(atBytes, 1).length > 0) {
    throw new SnapshotCorruptError(file, atBytes, "bytes follow the end");
  }
}
