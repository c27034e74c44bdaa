import { assert } from "../lib/assert.js";
import { crc32c } from "../storage/crc32c.js";
import { EtcdFileError } from "./errors.js";
import {
  decodeEtcdEntry,
  decodeEtcdHardState,
  decodeEtcdMetadata,
  decodeEtcdRecord,
  decodeEtcdSnapshotMark,
  type EtcdEntry,
  type EtcdHardState,
  type EtcdMetadata,
  type EtcdRecord,
  EtcdRecordType,
  type EtcdSnapshotMark,
} from "./messages.js";
import { ProtobufError } from "./protobuf.js";

/**
 * etcd's log: segments of frames (etcd's wal/decoder.go, wal/wal.go).
 *
 *   frame   i64 length, little-endian: bits 0..55 the record's bytes; if the top bit is set,
 *           bits 56..58 are the padding after it, which aligns frames to 8 bytes (from 2.3 on);
 *           then the record (a protobuf message), then the padding
 *   record  type, data, and the CRC-32C of all data so far, from segment to segment; a record of
 *           type crc at the start of a segment repeats that of the segment before
 *
 * A length of 0, or the end of the file, ends a segment: from 2.3 on, segments are allocated in
 * advance and filled with zeros.
 */
const FRAME_HEAD_BYTES = 8;
const SECTOR_BYTES = 512;
/** etcd's own limit is 10 MiB in 3.4, and the file's size in 3.5. */
const RECORD_BYTES_MAX = 64 * 2 ** 20;

/** A log, read back. */
export interface EtcdLog {
  readonly metadata: EtcdMetadata;
  readonly hardState: EtcdHardState;
  /** Consecutive, since the last gap; their data are views into the segments. */
  readonly entries: readonly EtcdEntry[];
  /** Positions of snapshots, oldest first. */
  readonly marks: readonly EtcdSnapshotMark[];
  /** The last record was in flight when etcd stopped. */
  readonly torn: { readonly file: string; readonly atBytes: number } | undefined;
}

/** What is at an offset of a segment. */
type Frame =
  | { readonly kind: "end" }
  | { readonly kind: "torn" }
  | { readonly kind: "damaged"; readonly why: string }
  | { readonly kind: "record"; readonly record: EtcdRecord; readonly next: number };

/** Reads a log segment by segment, oldest first. */
export class EtcdLogReader {
  #crc = 0;
  #metadata: { readonly bytes: Buffer; readonly file: string } | undefined;
  #hardState: EtcdHardState = { term: 0, commit: 0 };
  readonly #entries: EtcdEntry[] = [];
  readonly #marks: EtcdSnapshotMark[] = [];
  #torn: EtcdLog["torn"];
  #before: { readonly file: string; readonly endBytes: number } | undefined;

  /**
   * @param isLast only the last segment may end in a torn record
   * @throws EtcdFileError
   */
  segment(file: string, bytes: Uint8Array, isLast: boolean): void {
    assert(this.#torn === undefined, "the last segment comes last");
    let at = 0;
    for (;;) {
      const frame = scanFrame(bytes, at, this.#crc);
      if (frame.kind === "record") {
        this.#take(file, at, frame.record);
        at = frame.next;
        continue;
      }
      if (frame.kind === "damaged") throw new EtcdFileError(file, at, frame.why);
      if (frame.kind === "torn") {
        if (!isLast) {
          throw new EtcdFileError(file, at, "the record is truncated in the middle of the log");
        }
        this.#torn = { file, atBytes: at };
      }
      break;
    }
    if (at === 0) throw new EtcdFileError(file, 0, "it holds no record");
    this.#before = { file, endBytes: at };
  }

  /** @throws EtcdFileError */
  finish(): EtcdLog {
    assert(this.#before !== undefined, "a log has a segment");
    const metadata = this.#metadata;
    if (metadata === undefined) {
      throw new EtcdFileError(this.#before.file, 0, "it does not name its member");
    }
    return {
      metadata: decodeEtcdMetadata(metadata.bytes),
      hardState: this.#hardState,
      entries: this.#entries,
      marks: this.#marks,
      torn: this.#torn,
    };
  }

  #take(file: string, at: number, record: EtcdRecord): void {
    try {
      this.#apply(file, at, record);
    } catch (error) {
      if (!(error instanceof ProtobufError)) throw error;
      throw new EtcdFileError(file, at, `the record cannot be decoded: ${error.message}`);
    }
  }

  /** @throws ProtobufError, EtcdFileError */
  #apply(file: string, at: number, { type, crc, data = NO_DATA }: EtcdRecord): void {
    switch (type) {
      case EtcdRecordType.metadata:
        if (this.#metadata !== undefined && !this.#metadata.bytes.equals(data)) {
          throw new EtcdFileError(file, at, `it is of another member than ${this.#metadata.file}`);
        }
        this.#metadata = { bytes: data, file };
        break;
      case EtcdRecordType.entry:
        this.#add(decodeEtcdEntry(data));
        break;
      case EtcdRecordType.state:
        this.#hardState = decodeEtcdHardState(data);
        break;
      case EtcdRecordType.crc:
        this.#continue(file, at, crc);
        return;
      case EtcdRecordType.snapshot:
        this.#marks.push(decodeEtcdSnapshotMark(data));
        break;
      default:
        throw new EtcdFileError(file, at, `unknown record type ${type}`);
    }
    this.#crc = crc;
  }

  /** The first segment that is left need not begin at 0. */
  #continue(file: string, at: number, crc: number): void {
    if (this.#crc !== 0 && crc !== this.#crc) {
      const { file: before = "", endBytes = 0 } = this.#before ?? {};
      throw new EtcdFileError(
        file,
        at,
        before === ""
          ? "the checksum differs"
          : `it does not continue ${before}, whose records end at byte ${endBytes}`,
      );
    }
    this.#crc = crc;
  }

  /**
   * A later entry replaces those from its index on. One that leaves a gap follows a snapshot from
   * the leader: entries before it do not count any more.
   */
  #add(entry: EtcdEntry): void {
    const first = this.#entries[0]?.index ?? entry.index;
    const last = this.#entries.at(-1)?.index ?? entry.index - 1;
    this.#entries.length = entry.index > last + 1 ? 0 : Math.max(0, entry.index - first);
    this.#entries.push(entry);
  }
}

const NO_DATA = Buffer.alloc(0);

function scanFrame(bytes: Uint8Array, at: number, crcBefore: number): Frame {
  const head = frameHead(bytes, at);
  if (head === "end" || head === "torn") return { kind: head };
  const { dataAt, dataBytes, next } = head;
  if (dataBytes > RECORD_BYTES_MAX) {
    return { kind: "damaged", why: `record length ${dataBytes} is out of range` };
  }
  if (next > bytes.length) return tornUnlessRecordsFollow(bytes, at, bytes.length);
  let why = "the checksum differs";
  try {
    const record = decodeEtcdRecord(bytes.subarray(dataAt, dataAt + dataBytes));
    const isCrc = record.type === EtcdRecordType.crc;
    if (isCrc || crc32c(record.data ?? NO_DATA, crcBefore) === record.crc) {
      return { kind: "record", record, next };
    }
  } catch (error) {
    if (!(error instanceof ProtobufError)) throw error;
    why = `the record cannot be decoded: ${error.message}`;
  }
  if (!hasBlankSector(bytes, dataAt, next)) return { kind: "damaged", why };
  return tornUnlessRecordsFollow(bytes, at, next);
}

function frameHead(
  bytes: Uint8Array,
  at: number,
): "end" | "torn" | { dataAt: number; dataBytes: number; next: number } {
  if (at === bytes.length) return "end";
  if (at + FRAME_HEAD_BYTES > bytes.length) return "torn";
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, FRAME_HEAD_BYTES);
  const low = view.getUint32(0, true);
  const high = view.getUint32(4, true);
  if (low === 0 && high === 0) return "end";
  const padding = high >= 2 ** 31 ? (high >>> 24) & 7 : 0;
  const dataBytes = (high & 0xffffff) * 2 ** 32 + low;
  const dataAt = at + FRAME_HEAD_BYTES;
  return { dataAt, dataBytes, next: dataAt + dataBytes + padding };
}

/** As etcd: a sector of it was never written. */
function hasBlankSector(bytes: Uint8Array, from: number, to: number): boolean {
  for (let at = from; at < to; ) {
    const end = Math.min(to, (Math.floor(at / SECTOR_BYTES) + 1) * SECTOR_BYTES);
    if (bytes.subarray(at, end).every((byte) => byte === 0)) return true;
    at = end;
  }
  return false;
}

/**
 * A damaged length can look like a torn record, and etcd would drop everything after it. Then
 * there are whole records within the bytes that it claims: two in a row whose checksums continue
 * one another cannot be chance.
 */
function tornUnlessRecordsFollow(bytes: Uint8Array, at: number, to: number): Frame {
  for (let start = at + FRAME_HEAD_BYTES; start < to; start++) {
    const first = recordAt(bytes, start, to);
    const second = first === undefined ? undefined : recordAt(bytes, first.next, bytes.length);
    if (first === undefined || second === undefined) continue;
    if (crc32c(second.record.data ?? NO_DATA, first.record.crc) !== second.record.crc) continue;
    return { kind: "damaged", why: `its length is wrong: a record begins at byte ${start}` };
  }
  return { kind: "torn" };
}

function recordAt(
  bytes: Uint8Array,
  at: number,
  to: number,
): { record: EtcdRecord; next: number } | undefined {
  // The usual first bytes of a record, `type` below 128, before anything slower.
  if (at + FRAME_HEAD_BYTES + 2 > to || bytes[at + FRAME_HEAD_BYTES] !== 8) return undefined;
  const head = frameHead(bytes, at);
  if (head === "end" || head === "torn" || head.next > to) return undefined;
  try {
    const record = decodeEtcdRecord(bytes.subarray(head.dataAt, head.dataAt + head.dataBytes));
    const isKnown = record.type >= 1 && record.type <= 5 && record.crc !== 0;
    return isKnown ? { record, next: head.next } : undefined;
  } catch (error) {
    if (!(error instanceof ProtobufError)) throw error;
    return undefined;
  }
}
