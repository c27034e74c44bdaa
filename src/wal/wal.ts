import { assert } from "../lib/assert.js";
import type { Entry, HardState } from "../raft/entry.js";
import type { Disk, DiskFile } from "./disk.js";
import { DataDirError, LogFailedError, LogFullError } from "./errors.js";
import {
  PAYLOAD_BYTES_MAX,
  RECORD_HEAD_BYTES,
  RecordType,
  recordBytes,
  sealRecord,
} from "./record.js";
import { readLog } from "./recover.js";
import {
  parseSegmentFile,
  SEGMENT_HEAD_BYTES,
  type SegmentName,
  segmentFile,
  writeSegmentHead,
} from "./segment.js";

export const SEGMENT_BYTES = 64 * 1024 * 1024;
/**
 * Zeros kept ahead of the records, so that most batches overwrite allocated blocks and an fdatasync has
 * no metadata to write. They are written as part of a batch, in small steps: at once they would hold
 * up the batches behind them.
 */
const ZEROS_AHEAD_BYTES = 512 * 1024;
/** A record is closed at this size; a larger entry has one of its own. */
const RECORD_BYTES = 4 * 1024 * 1024;
const BUFFER_BYTES_MIN = 1024 * 1024;
const ENTRY_HEAD_BYTES = 24;
const HARD_STATE_BYTES = 24;

export interface WalMetadata {
  readonly memberId: bigint;
  readonly clusterId: bigint;
}

export interface WalOptions {
  readonly disk: Disk;
  readonly directory: string;
  /** A segment that reached this size is the last one's predecessor. */
  readonly segmentBytes?: number;
}

export interface Recovered {
  readonly wal: Wal;
  readonly metadata: WalMetadata;
  readonly hardState: HardState;
  /** Behind the index asked for, without a gap. */
  readonly entries: Entry[];
  readonly warnings: readonly string[];
}

/**
 * The write-ahead log of one member: what it promised to remember. Appends collect in memory; `sync`
 * makes all of them durable with one write and one fdatasync.
 *
 * Failures. No space: the records of this batch are written again, the same bytes at the same place,
 * once there is some; that is safe because no fdatasync was asked for in between. Any other failure of
 * a write, and every failure of an fdatasync, ends this log: the kernel may have dropped what it could
 * not write and report the next fdatasync as a success.
 */
export class Wal {
  readonly #disk: Disk;
  readonly #directory: string;
  readonly #segmentBytes: number;
  readonly #metadata: WalMetadata;
  #file: DiskFile;
  #segments: SegmentName[];
  #atBytes: number;
  #zeroedBytes: number;
  #crc: number;
  #lastIndex: number;
  #hardState: HardState;
  #buffer = Buffer.alloc(BUFFER_BYTES_MIN);
  /** Sealed records, from 0. */
  #sealedBytes = 0;
  /** The crc that seeds the record behind the sealed ones. */
  #sealedCrc: number;
  /** Payload of the open record of entries, which begins at #sealedBytes. */
  #openBytes = 0;
  #isFailed = false;

  private constructor(
    options: WalOptions,
    metadata: WalMetadata,
    place: {
      file: DiskFile;
      segments: SegmentName[];
      atBytes: number;
      zeroedBytes: number;
      crc: number;
      lastIndex: number;
      hardState: HardState;
    },
  ) {
    this.#disk = options.disk;
    this.#directory = options.directory;
    this.#segmentBytes = options.segmentBytes ?? SEGMENT_BYTES;
    this.#metadata = metadata;
    this.#file = place.file;
    this.#segments = place.segments;
    this.#atBytes = place.atBytes;
    this.#zeroedBytes = place.zeroedBytes;
    this.#crc = place.crc;
    this.#sealedCrc = place.crc;
    this.#lastIndex = place.lastIndex;
    this.#hardState = place.hardState;
  }

  /** Whether the directory holds a log, whole or not. */
  static exists({ disk, directory }: WalOptions): boolean {
    return disk.list(directory).some((file) => parseSegmentFile(file) !== undefined);
  }

  /** Starts a log behind `lastIndex`, which a snapshot covers, or 0. */
  static create(options: WalOptions, metadata: WalMetadata, lastIndex: number): Wal {
    const { disk, directory } = options;
    const name = { file: segmentFile(0, lastIndex + 1), sequence: 0, firstIndex: lastIndex + 1 };
    const file = makeSegment(disk, directory, name, 0, metadata);
    return new Wal(options, metadata, {
      file,
      segments: [name],
      atBytes: SEGMENT_HEAD_BYTES,
      zeroedBytes: SEGMENT_HEAD_BYTES + ZEROS_AHEAD_BYTES,
      crc: 0,
      lastIndex,
      hardState: { term: 0, vote: 0n, commit: 0 },
    });
  }

  /**
   * Reads the log behind `afterIndex` and makes ready to go on.
   *
   * @throws CorruptRecordError, LogGapError, DataDirError
   */
  static open(options: WalOptions, afterIndex: number): Recovered {
    const { disk, directory } = options;
    const warnings: string[] = [];
    for (const file of disk.list(directory)) {
      if (file.endsWith(".wal.tmp")) disk.remove(directory, file);
      else if (file.endsWith(".wal") && parseSegmentFile(file) === undefined) {
        throw new DataDirError(`Cannot use ${directory}: ${file} is no segment of a log of ringd`);
      }
    }
    const segments = disk
      .list(directory)
      .map(parseSegmentFile)
      .filter((name) => name !== undefined);
    const content = readLog(segments, (file) => disk.read(directory, file), afterIndex);
    const { end, head } = content;
    const file = disk.open(directory, end.name.file);
    if (content.hasTornTail) {
      warnings.push(
        `cut off the end of ${end.name.file} at byte ${end.atBytes}: writes that were never acknowledged`,
      );
    }
    // Zeros behind the end, whether it was torn or not: there must be nothing a later end could meet.
    const size = disk.read(directory, end.name.file).length;
    const zeroedBytes = Math.max(size, end.atBytes + ZEROS_AHEAD_BYTES);
    file.write(Buffer.alloc(zeroedBytes - end.atBytes), end.atBytes);
    file.datasync();
    const metadata = { memberId: head.memberId, clusterId: head.clusterId };
    const wal = new Wal(options, metadata, {
      file,
      segments,
      atBytes: end.atBytes,
      zeroedBytes,
      crc: end.crc,
      lastIndex: afterIndex + content.entries.length,
      hardState: content.hardState,
    });
    return { wal, metadata, hardState: content.hardState, entries: content.entries, warnings };
  }

  /** Index of the last entry appended, durable or not. */
  get lastIndex(): number {
    return this.#lastIndex;
  }

  get hasUnsynced(): boolean {
    return this.#sealedBytes > 0 || this.#openBytes > 0;
  }

  /** Adds an entry, copying its data once. An index that was there voids that entry and all behind. */
  appendEntry(
    index: number,
    term: number,
    type: number,
    data: Uint8Array,
    dataAt: number,
    dataBytes: number,
  ): void {
    assert(index <= this.#lastIndex + 1, "entries leave no gap");
    assert(dataBytes <= PAYLOAD_BYTES_MAX - ENTRY_HEAD_BYTES, "an entry fits a record");
    if (this.#openBytes > 0 && this.#openBytes + dataBytes > RECORD_BYTES) this.#sealEntries();
    const at = this.#sealedBytes + RECORD_HEAD_BYTES + this.#openBytes;
    this.#grow(at + recordBytes(ENTRY_HEAD_BYTES + dataBytes));
    const buffer = this.#buffer;
    buffer.writeDoubleLE(index, at);
    buffer.writeDoubleLE(term, at + 8);
    buffer.writeUInt32LE(type, at + 16);
    buffer.writeUInt32LE(dataBytes, at + 20);
    buffer.set(data.subarray(dataAt, dataAt + dataBytes), at + ENTRY_HEAD_BYTES);
    this.#openBytes += ENTRY_HEAD_BYTES + dataBytes;
    this.#lastIndex = index;
  }

  saveHardState(hardState: HardState): void {
    if (this.#openBytes > 0) this.#sealEntries();
    this.#hardState = hardState;
    this.#writeHardState();
  }

  /**
   * Makes everything appended durable.
   *
   * @throws LogFullError: call again when there is space
   * @throws LogFailedError: this log takes no more
   */
  sync(): void {
    if (this.#isFailed) throw new LogFailedError("The log failed before; restart the member.");
    if (this.#openBytes > 0) this.#sealEntries();
    if (this.#sealedBytes === 0) return;
    this.#attempt("write to", () => {
      const end = this.#atBytes + this.#sealedBytes;
      let bytes = this.#sealedBytes;
      if (end > this.#zeroedBytes) {
        this.#grow(bytes + ZEROS_AHEAD_BYTES);
        this.#buffer.fill(0, bytes, bytes + ZEROS_AHEAD_BYTES);
        bytes += ZEROS_AHEAD_BYTES;
      }
      this.#file.write(this.#buffer.subarray(0, bytes), this.#atBytes);
      this.#zeroedBytes = Math.max(this.#zeroedBytes, this.#atBytes + bytes);
    });
    this.#mustSucceed(() => this.#file.datasync());
    this.#atBytes += this.#sealedBytes;
    this.#sealedBytes = 0;
    this.#crc = this.#sealedCrc;
    if (this.#buffer.length > 2 * RECORD_BYTES) this.#buffer = Buffer.alloc(BUFFER_BYTES_MIN);
  }

  /** Whether the segment is full: `cut` before more is appended. */
  get isSegmentFull(): boolean {
    return this.#atBytes >= this.#segmentBytes;
  }

  /** Starts the next segment. @throws as sync does */
  cut(): void {
    assert(!this.hasUnsynced, "a segment is complete before the next one starts");
    const last = this.#segments[this.#segments.length - 1];
    assert(last !== undefined, "a log has a segment");
    const sequence = last.sequence + 1;
    const firstIndex = this.#lastIndex + 1;
    const name = { file: segmentFile(sequence, firstIndex), sequence, firstIndex };
    this.#attempt("add a segment to", () => {
      const file = makeSegment(this.#disk, this.#directory, name, this.#crc, this.#metadata);
      this.#file.close();
      this.#file = file;
    });
    this.#segments.push(name);
    this.#atBytes = SEGMENT_HEAD_BYTES;
    this.#zeroedBytes = SEGMENT_HEAD_BYTES + ZEROS_AHEAD_BYTES;
    this.#writeHardState(); // Recovery may begin with this segment.
    this.sync();
  }

  /**
   * Removes segments that hold nothing behind `index`, oldest first.
   *
   * @param segmentsMax how many to keep even so; 0 removes none
   */
  releaseBefore(index: number, segmentsMax: number): void {
    if (segmentsMax === 0) return;
    while (this.#segments.length > segmentsMax) {
      const [first, second] = this.#segments;
      if (first === undefined || second === undefined || second.firstIndex > index + 1) return;
      this.#disk.remove(this.#directory, first.file);
      this.#segments.shift();
    }
  }

  close(): void {
    this.#file.close();
  }

  #sealEntries(): void {
    this.#sealedCrc = sealRecord(
      this.#buffer,
      this.#sealedBytes,
      this.#openBytes,
      RecordType.entries,
      this.#sealedCrc,
    );
    this.#sealedBytes += recordBytes(this.#openBytes);
    this.#openBytes = 0;
  }

  #writeHardState(): void {
    const at = this.#sealedBytes;
    this.#grow(at + recordBytes(HARD_STATE_BYTES));
    const { term, commit, vote } = this.#hardState;
    this.#buffer.writeDoubleLE(term, at + RECORD_HEAD_BYTES);
    this.#buffer.writeDoubleLE(commit, at + RECORD_HEAD_BYTES + 8);
    this.#buffer.writeBigUInt64LE(vote, at + RECORD_HEAD_BYTES + 16);
    const { hardState } = RecordType;
    this.#sealedCrc = sealRecord(this.#buffer, at, HARD_STATE_BYTES, hardState, this.#sealedCrc);
    this.#sealedBytes += recordBytes(HARD_STATE_BYTES);
  }

  #grow(bytes: number): void {
    if (bytes <= this.#buffer.length) return;
    const grown = Buffer.alloc(2 * bytes);
    this.#buffer.copy(grown);
    this.#buffer = grown;
  }

  #attempt(what: string, action: () => void): void {
    try {
      action();
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      if (code === "ENOSPC" || code === "EDQUOT" || code === "EFBIG") {
        throw new LogFullError(`Cannot ${what} the log in ${this.#directory}: ${message}`);
      }
      this.#fail(message);
    }
  }

  #mustSucceed(action: () => void): void {
    try {
      action();
    } catch (error) {
      this.#fail((error as Error).message);
    }
  }

  #fail(message: string): never {
    this.#isFailed = true;
    throw new LogFailedError(`Cannot write to the log in ${this.#directory}: ${message}`);
  }
}

/** A segment appears under its name only when its head is durable. */
function makeSegment(
  disk: Disk,
  directory: string,
  name: SegmentName,
  crcBefore: number,
  metadata: WalMetadata,
): DiskFile {
  const temporary = `${name.file}.tmp`;
  const file = disk.create(directory, temporary);
  try {
    const bytes = Buffer.alloc(SEGMENT_HEAD_BYTES + ZEROS_AHEAD_BYTES);
    writeSegmentHead(bytes, { ...name, ...metadata, crcBefore });
    file.write(bytes, 0);
    file.datasync();
    disk.rename(directory, temporary, name.file);
    disk.syncDirectory(directory);
    return file;
  } catch (error) {
    file.close();
    throw error;
  }
}
