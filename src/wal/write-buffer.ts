import { assert } from "../lib/assert.js";
import { ENTRY_BYTES_MAX, type WalHardState } from "../messages/log-entry.js";
import {
  BATCH_HEADER_BYTES,
  ENTRY_HEADER_BYTES,
  encodeHardState,
  HARD_STATE_BYTES,
  type LogPosition,
  SNAPSHOT_MARK_BYTES,
  writeBatchHeader,
  writeEntryHeader,
  writeSnapshotMark,
} from "./batch.js";
import {
  alignRecord,
  RECORD_ALIGN_BYTES,
  RECORD_BATCH,
  RECORD_HEADER_BYTES,
  RECORD_SNAPSHOT,
  type RecordForm,
  type RecordType,
  sealRecord,
} from "./record.js";

/**
 * Unwritten records in their on-disk format: sealed ones, then perhaps an open one that collects
 * consecutive entries.
 *
 *   | sealed record | sealed record | open: header to come, entry, entry ... |  room  |
 *   0                               ^ sealedBytes
 *
 * A sealed record is never changed. Entries are copied once, into this buffer.
 */
export class WriteBuffer {
  #bytes = new Uint8Array(BYTES_MIN);
  #view = new DataView(this.#bytes.buffer);
  #sealedBytes = 0;
  #crc = 0;
  /** Offset of the buffer's first byte in its file, which determines the records' sectors. */
  #fileAtBytes = 0;
  #form: RecordForm = { hasFlags: false, headSeed: 0 };
  /** Length of the open record's payload so far; 0 if none is open. */
  #openBytes = 0;
  #openFirstIndex = 0;
  #openCount = 0;

  /** All of the buffer. Replaced by each `reserve`: do not keep it. */
  get bytes(): Uint8Array {
    return this.#bytes;
  }

  get isEmpty(): boolean {
    return this.queuedBytes === 0;
  }

  /** Sealed and open records. */
  get queuedBytes(): number {
    return this.#sealedBytes + this.#openBytes;
  }

  /** The bytes to write: complete records. Valid until the next change. */
  get sealed(): Uint8Array {
    assert(this.#openBytes === 0, "records are sealed before they are written");
    return this.#bytes.subarray(0, this.#sealedBytes);
  }

  /** Crc of the last sealed record: the seed of the first one after this buffer. */
  get crc(): number {
    return this.#crc;
  }

  /**
   * Call it before adding to an empty buffer. Everything before `fileAtBytes` must be durable: the
   * first record's flag says so.
   *
   * @param fileAtBytes offset of the buffer in its file
   * @param crcBefore crc of the record before it
   */
  begin(fileAtBytes: number, crcBefore: number, form: RecordForm): void {
    assert(this.isEmpty, "a buffer begins empty");
    assert(fileAtBytes % RECORD_ALIGN_BYTES === 0, "a record starts on a multiple of 16");
    this.#fileAtBytes = fileAtBytes;
    this.#crc = crcBefore;
    this.#form = form;
  }

  /** Makes room for an entry. @returns the offset of its data in `bytes` */
  reserve(index: number, term: number, type: number, dataBytes: number): number {
    assert(type >= 0 && type <= 0xff, "an entry's type is a u8");
    assert(dataBytes >= 0 && dataBytes <= ENTRY_BYTES_MAX, "an entry's data is within limits");
    const need = ENTRY_HEADER_BYTES + dataBytes;
    if (this.#openBytes > 0) {
      const follows = index === this.#openFirstIndex + this.#openCount;
      if (!follows || this.#openBytes + need > RECORD_BYTES_TARGET) this.seal(undefined);
    }
    if (this.#openBytes === 0) this.#open(index);
    assert(this.#openFirstIndex > 0, "only entries are appended to a record");
    const at = this.#sealedBytes + RECORD_HEADER_BYTES + this.#openBytes;
    this.#makeRoom(at + need);
    writeEntryHeader(this.#view, at, term, type, dataBytes);
    this.#openBytes += need;
    this.#openCount++;
    return at + ENTRY_HEADER_BYTES;
  }

  /** Seals the open record. A hard state goes into it, or into its own record if none is open. */
  seal(hardState: WalHardState | undefined): void {
    if (this.#openBytes === 0) {
      if (hardState === undefined) return;
      this.#open(0);
    }
    const isOfEntries = this.#openFirstIndex > 0;
    assert(this.#openCount > 0 === isOfEntries, "a record of entries has a first index");
    const payloadAt = this.#sealedBytes + RECORD_HEADER_BYTES;
    const has = hardState !== undefined;
    writeBatchHeader(this.#view, payloadAt, this.#openFirstIndex, this.#openCount, has);
    if (hardState !== undefined) {
      encodeHardState(this.#view, payloadAt + this.#openBytes, hardState);
      this.#openBytes += HARD_STATE_BYTES;
    }
    this.#sealPayload(RECORD_BATCH, this.#openBytes);
    this.#openBytes = 0;
  }

  putSnapshotMark(mark: LogPosition): void {
    this.seal(undefined);
    assert(this.#openBytes === 0, "a snapshot mark is a record of its own");
    this.#makeRoom(this.#sealedBytes + RECORD_HEADER_BYTES + SNAPSHOT_MARK_BYTES);
    writeSnapshotMark(this.#view, this.#sealedBytes + RECORD_HEADER_BYTES, mark);
    this.#sealPayload(RECORD_SNAPSHOT, SNAPSHOT_MARK_BYTES);
  }

  /** Empties the buffer: the sealed records are durable. */
  clear(): void {
    assert(this.#openBytes === 0, "only written records are cleared");
    this.#sealedBytes = 0;
    if (this.#bytes.length > BYTES_KEPT) this.#replace(BYTES_MIN);
  }

  #open(firstIndex: number): void {
    assert(this.#openBytes === 0, "one record is open at a time");
    this.#makeRoom(this.#sealedBytes + RECORD_HEADER_BYTES + BATCH_HEADER_BYTES);
    this.#openBytes = BATCH_HEADER_BYTES;
    this.#openFirstIndex = firstIndex;
    this.#openCount = 0;
  }

  #sealPayload(type: RecordType, payloadBytes: number): void {
    const at = this.#sealedBytes;
    assert(at % RECORD_ALIGN_BYTES === 0, "a record starts on a multiple of 16");
    const fileAt = this.#fileAtBytes + at;
    const form = this.#form;
    this.#crc = sealRecord(this.#bytes, at, type, payloadBytes, fileAt, this.#crc, form, at === 0);
    this.#sealedBytes = alignRecord(at + RECORD_HEADER_BYTES + payloadBytes);
    assert(this.#sealedBytes <= this.#bytes.length, "there was room for the record's padding");
  }

  /** @param end of the bytes to add; room to seal the record is added */
  #makeRoom(end: number): void {
    const bytes = end + HARD_STATE_BYTES + RECORD_ALIGN_BYTES;
    if (bytes <= this.#bytes.length) return;
    assert(bytes <= BUFFER_BYTES_MAX, "the caller syncs before the write buffer is full");
    const old = this.#bytes;
    this.#replace(Math.min(BUFFER_BYTES_MAX, 2 ** Math.ceil(Math.log2(bytes))));
    assert(bytes <= this.#bytes.length, "a larger buffer has room");
    this.#bytes.set(old);
  }

  #replace(bytes: number): void {
    assert(bytes >= BYTES_MIN && bytes <= BUFFER_BYTES_MAX, "a buffer's size is within limits");
    this.#bytes = new Uint8Array(bytes);
    this.#view = new DataView(this.#bytes.buffer);
  }
}

/** The caller must sync before it appends more than this. */
export const BUFFER_BYTES_MAX = 64 * 2 ** 20;
/**
 * A larger batch is split over records, so that the bytes of one checksum stay in the CPU's cache.
 */
const RECORD_BYTES_TARGET = 2 ** 20;
const BYTES_MIN = 2 ** 20;
/** A larger buffer is released after use. */
const BYTES_KEPT = 8 * 2 ** 20;
