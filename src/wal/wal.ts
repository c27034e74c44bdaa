import { assert } from "../lib/assert.js";
import type { WalEntry, WalHardState } from "../messages/log-entry.js";
import type { Disk } from "../storage/disk.js";
import type { DiskOp } from "../storage/disk-op.js";
import { DiskError, LogFailedError, LogFullError } from "../storage/errors.js";
import type { LogPosition } from "./batch.js";
import {
  makeLog,
  NO_POSITION,
  randomSalt,
  reachesSnapshot,
  readLog,
  saltOf,
  type WalOptions,
  ZERO_AHEAD_BYTES,
} from "./open-log.js";
import { planBatch, planPurge, planSegment, SEGMENT_TEMPORARY_SUFFIX } from "./plan.js";
import { RECORD_ALIGN_BYTES, type RecordForm } from "./record.js";
import type { Replay } from "./recover.js";
import {
  type FormatVersion,
  parseSegmentName,
  SEGMENT_FORMAT,
  SEGMENT_HEADER_BYTES,
  type WalMetadata,
} from "./segment.js";
import { WriteBuffer } from "./write-buffer.js";

/**
 * The log of one member: appends are collected in a buffer, in their on-disk format, and `sync`
 * makes all of them durable with one write and one fdatasync.
 *
 *   append, reserve, setHardState ...  ->  write buffer  ->  sync: write + fdatasync  ->  durable
 *
 * A segment that has reached its size is followed by a new one at the next append to an empty
 * buffer, that is, when everything before is durable. So only the last segment can have a torn
 * tail.
 *
 * Invariants:
 *   1. `#atBytes`, `#crc` and `#durable` advance only once fdatasync has returned: a batch
 *      counts as a whole or not at all.
 *   2. A sealed record is never changed or withdrawn: a batch that found no space is rewritten
 *      with the same bytes in the same place, whatever was appended after it.
 *   3. After a failure that leaves the disk's content unknown, nothing more is written.
 *
 * Which failures may be retried, and why:
 *   - No space, or no file descriptor, while a new segment is made, even at its datasync: yes. No
 *     record is in it; it is removed, and made anew through a new descriptor.
 *   - No space while records are written (`write`, not `datasync`): yes. The call rejected the
 *     bytes before they were in the page cache. It may have taken the first part of them, which
 *     looks like a torn tail after a crash, and writing the same bytes over them changes nothing.
 *     No flush has been asked for, so no flush has failed; if the kernel flushes the first part by
 *     itself and fails, the next fdatasync reports it.
 *   - fdatasync, for whatever reason: no. The kernel reports a failed flush once and may mark the
 *     pages clean; the next fdatasync would succeed with the data lost ("fsyncgate", PostgreSQL
 *     2018).
 *   - Any other failed write: no, for the same doubt. `open` then writes all of it once more that
 *     may not be on the disk, whatever the page cache says.
 */
export class Wal {
  readonly #disk: Disk;
  readonly #segmentBytes: number;
  readonly #zeroAheadBytes: number;
  readonly #metadata: WalMetadata;
  readonly #salt: () => number;
  /** Format of segments made from now on. */
  #format: FormatVersion;
  #segments: { readonly file: string; readonly firstIndex: number }[];
  #sequence: number;

  // Position of the next record once the buffer is durable.
  #file: string;
  #atBytes: number;
  #zeroedToBytes: number;
  #crc: number;
  #form: RecordForm;
  #fileFormat: FormatVersion;
  #durable: LogPosition;

  // Appended and not yet durable.
  readonly #queue = new WriteBuffer();
  #last: LogPosition;
  #hardState: WalHardState;
  #hasNewHardState = false;
  /** The segment to make before the buffer is written. */
  #cut: ReturnType<typeof planSegment> | undefined;
  #failure: LogFailedError | undefined;

  /**
   * Opens the log, or makes a new one.
   *
   * Repairs the tail, and makes everything read durable before it returns: after a crash of the
   * process it may be in the page cache only, after a failed sync even marked clean. See
   * open-log.ts.
   *
   * @throws CorruptRecordError, LogGapError, ForeignDataDirError with nothing changed on disk;
   *   LogFullError, LogFailedError if the log cannot be repaired or made
   */
  static open(options: WalOptions): { wal: Wal; recovery: Recovery } {
    const found = readLog(options);
    if (found === undefined) return Wal.create(options);
    const { atBytes, fileBytes } = found.tail;
    const wal = new Wal(options, found, Math.max(atBytes, fileBytes));
    return { wal, recovery: wal.#recovery(found, options.snapshot ?? NO_POSITION) };
  }

  /**
   * Makes a new log where there is none, after a snapshot if one is given (a restored backup).
   *
   * @throws LogFullError, LogFailedError
   */
  static create(options: WalOptions): { wal: Wal; recovery: Recovery } {
    const made = makeLog(options);
    const wal = new Wal(options, made, made.tail.fileBytes);
    const recovery = wal.#recovery(made, made.base);
    return { wal, recovery: { ...recovery, isNew: true } };
  }

  private constructor(options: WalOptions, found: Replay, zeroedToBytes: number) {
    assert(found.tail.atBytes % RECORD_ALIGN_BYTES === 0, "a record starts on a multiple of 16");
    assert(zeroedToBytes >= found.tail.atBytes, "zeros are counted from the last record on");
    assert(found.segments.at(-1)?.file === found.tail.file, "the last segment is the one written");
    assert(found.hardState.term >= found.last.term, "no entry has a later term");
    this.#disk = options.disk;
    this.#segmentBytes = options.segmentBytes ?? SEGMENT_BYTES;
    this.#zeroAheadBytes = options.zeroAheadBytes ?? ZERO_AHEAD_BYTES;
    this.#metadata = found.metadata;
    this.#salt = options.salt ?? randomSalt;
    this.#format = found.tail.version;
    this.#fileFormat = found.tail.version;
    this.#form = found.tail.form;
    this.#segments = [...found.segments];
    this.#sequence = found.tail.sequence;
    this.#file = found.tail.file;
    this.#atBytes = found.tail.atBytes;
    this.#zeroedToBytes = zeroedToBytes;
    this.#crc = found.tail.crc;
    this.#durable = found.last;
    this.#last = found.last;
    this.#hardState = found.hardState;
  }

  get metadata(): WalMetadata {
    return this.#metadata;
  }

  /** Format of the segments: that of the last one, until `setFormat`. */
  get format(): FormatVersion {
    return this.#format;
  }

  /** The segment being written. */
  get file(): string {
    return this.#file;
  }

  /** Last entry that `sync` has made durable (or the snapshot, if it is newer). */
  get durable(): LogPosition {
    return this.#durable;
  }

  /** Last entry appended. */
  get last(): LogPosition {
    return this.#last;
  }

  /**
   * Minimum of bytes that the next `sync` writes. Sync before they exceed BUFFER_BYTES_MAX
   * (write-buffer.ts).
   */
  get queuedBytes(): number {
    return this.#queue.queuedBytes;
  }

  get hasUnsynced(): boolean {
    return !this.#queue.isEmpty || this.#hasNewHardState;
  }

  /** Names of the segments, oldest first. */
  get segments(): readonly string[] {
    return this.#segments.map(({ file }) => file);
  }

  /** The buffer that `reserve` makes room in. May be replaced by each `reserve`: do not keep it. */
  get buffer(): Uint8Array {
    return this.#queue.bytes;
  }

  /** Copies a batch into the write buffer. @throws LogFailedError */
  append(batch: {
    readonly entries: readonly WalEntry[];
    readonly hardState?: WalHardState;
  }): void {
    for (const { index, term, type, data } of batch.entries) {
      const at = this.reserve(index, term, type, data.length);
      this.#queue.bytes.set(data, at);
    }
    if (batch.hardState !== undefined) this.setHardState(batch.hardState);
  }

  /**
   * Appends an entry whose data the caller then copies into `wal.buffer`, `dataBytes` bytes from
   * the returned offset on, before its next call to the log. Saves a second copy.
   *
   * @param index follows the last one, or replaces the entry of that index and all after it
   * @throws LogFailedError
   */
  reserve(index: number, term: number, type: number, dataBytes: number): number {
    this.#assertUsable();
    assert(index >= 1 && index <= this.#last.index + 1, "an entry leaves no gap");
    const isNext = index === this.#last.index + 1;
    assert(!isNext || term >= this.#last.term, "terms do not fall from an entry to the next");
    this.#prepare();
    const at = this.#queue.reserve(index, term, type, dataBytes);
    this.#last = { index, term };
    return at;
  }

  /** Only the last one set between two syncs is written. @throws LogFailedError */
  setHardState(hardState: WalHardState): void {
    this.#assertUsable();
    const { term, vote } = this.#hardState;
    assert(hardState.term >= term, "a term does not fall");
    const isSameTerm = hardState.term === term;
    assert(!isSameTerm || vote === 0n || vote === hardState.vote, "a vote is for its whole term");
    this.#hardState = hardState;
    this.#hasNewHardState = true;
  }

  /** The next batch starts a new segment of this version. No-op for an older version. */
  setFormat(version: FormatVersion): void {
    assert(version <= SEGMENT_FORMAT, "a version that is written is known");
    if (version > this.#format) this.#format = version;
    assert(this.#format >= this.#fileFormat, "a log does not return to an older format");
  }

  /**
   * Stops all writing, for a reason outside the log's own calls.
   *
   * @returns the error of every later call
   */
  giveUp(why: string): LogFailedError {
    return this.#fail(why);
  }

  /**
   * Restarts the log after a snapshot from another member, which must be durable already.
   *
   * @throws LogFailedError
   */
  installSnapshot(snapshot: LogPosition): void {
    this.#assertUsable();
    assert(snapshot.index > 0, "a snapshot holds an entry at least");
    this.#prepare();
    this.#queue.putSnapshotMark(snapshot);
    this.#last = snapshot;
  }

  /**
   * Makes all appends durable, with one write and one fdatasync, unless a segment begins.
   *
   * @returns the last durable entry
   * @throws LogFullError without space: call again once there may be some; LogFailedError for
   *   good
   */
  sync(): LogPosition {
    this.#assertUsable();
    if (this.#hasNewHardState) this.#prepare();
    this.#queue.seal(this.#hasNewHardState ? this.#hardState : undefined);
    this.#hasNewHardState = false;
    if (this.#queue.isEmpty) return this.#durable;
    if (this.#cut !== undefined) this.#makeSegment(this.#cut);
    assert(this.#cut === undefined, "a segment is there before its records");
    const records = this.#queue.sealed;
    const ahead = this.#zeroAheadBytes;
    const plan = planBatch(this.#file, this.#atBytes, records, this.#zeroedToBytes, ahead);
    this.#run(plan.write, true);
    this.#run(plan.datasync, false); // Invariant 1: everything below counts on it.
    this.#zeroedToBytes = plan.zeroedToBytes;
    this.#atBytes += records.length;
    assert(this.#zeroedToBytes >= this.#atBytes, "zeros follow the last record");
    this.#crc = this.#queue.crc;
    this.#queue.clear();
    assert(!this.hasUnsynced, "a sync leaves nothing behind");
    this.#durable = this.#last;
    return this.#durable;
  }

  /**
   * Drops the oldest segments whose entries all lie at or before `index`.
   *
   * @param index of the oldest snapshot kept
   * @param maxWals minimum of segments to keep; 0 keeps all
   * @returns the files dropped
   * @throws LogFailedError
   */
  releaseBefore(index: number, maxWals: number): string[] {
    this.#assertUsable();
    assert(index >= 0 && maxWals >= 0, "an index and a number of segments are not negative");
    if (maxWals === 0) return [];
    let count = 0;
    while (this.#segments.length - count > maxWals) {
      const next = this.#segments[count + 1];
      if (next === undefined || next.firstIndex > index + 1) break;
      count++;
    }
    const dropped = this.#segments.slice(0, count).map(({ file }) => file);
    for (const op of planPurge(dropped)) this.#run(op, false);
    this.#segments = this.#segments.slice(count);
    assert(this.#segments.at(-1)?.file === this.#file, "the segment that is written stays");
    return dropped;
  }

  /** Closes the files. Unsynced entries are lost. */
  close(): void {
    this.#failure ??= new LogFailedError("it is closed");
    this.#disk.close();
  }

  #recovery(found: Replay, snapshot: LogPosition): Recovery {
    const { metadata, isTorn, hasRest } = found;
    const reaches = reachesSnapshot(found, snapshot);
    if (!reaches) {
      const { term, vote } = found.hardState;
      const isOlder = term < snapshot.term;
      this.installSnapshot(snapshot);
      this.setHardState({
        term: isOlder ? snapshot.term : term,
        vote: isOlder ? 0n : vote,
        commit: snapshot.index,
      });
      this.sync();
    }
    return {
      metadata,
      hardState: this.#hardState,
      base: reaches ? found.base : snapshot,
      entries: reaches ? found.entries : [],
      isNew: false,
      cutTail:
        !hasRest && !isTorn
          ? undefined
          : {
              file: `${this.#disk.dir}/${found.tail.file}`,
              atBytes: found.tail.atBytes,
            },
    };
  }

  /** Called before the first record of a batch: chooses its file. */
  #prepare(): void {
    if (!this.#queue.isEmpty) return;
    assert(this.#atBytes <= this.#zeroedToBytes, "zeros follow the last record");
    const isDue = this.#atBytes >= this.#segmentBytes || this.#fileFormat !== this.#format;
    if (this.#cut === undefined && isDue) {
      const version = this.#format;
      this.#cut = planSegment(
        {
          ...{ version, salt: saltOf(version, this.#salt) },
          sequence: this.#sequence + 1,
          firstIndex: this.#last.index + 1,
          prevTerm: this.#last.term,
          hardState: this.#hardState,
          metadata: this.#metadata,
          prevCrc: this.#crc,
        },
        this.#zeroAheadBytes,
      );
    }
    if (this.#cut === undefined) this.#queue.begin(this.#atBytes, this.#crc, this.#form);
    else this.#queue.begin(SEGMENT_HEADER_BYTES, this.#cut.crc, this.#cut.form);
  }

  #makeSegment(cut: ReturnType<typeof planSegment>): void {
    assert(cut.version >= this.#fileFormat, "a log does not return to an older format");
    assert(!this.#queue.isEmpty, "a segment is made for a batch");
    try {
      for (const op of cut.ops) this.#disk.run(op);
    } catch (error) {
      if (!(error instanceof DiskError) || !error.isForWant) throw this.#fail(error);
      this.#discard(cut.temporary);
      throw new LogFullError(error);
    }
    assert(cut.file !== this.#file, "a new segment is a new file");
    this.#disk.run({ op: "close", file: this.#file });
    this.#file = cut.file;
    this.#sequence++;
    const name = parseSegmentName(cut.file);
    assert(name?.sequence === this.#sequence, "a segment follows the one before it");
    this.#segments.push({ file: cut.file, firstIndex: name.firstIndex });
    this.#atBytes = SEGMENT_HEADER_BYTES;
    this.#crc = cut.crc;
    this.#form = cut.form;
    this.#fileFormat = cut.version;
    this.#zeroedToBytes = cut.zeroedToBytes;
    this.#cut = undefined;
  }

  /**
   * Frees the space of a half-made segment. A leftover does no harm, so a failure here is ignored.
   */
  #discard(temporary: string): void {
    assert(temporary.endsWith(SEGMENT_TEMPORARY_SUFFIX), "only a half-made segment is discarded");
    try {
      this.#disk.run({ op: "unlink", file: temporary });
    } catch (error) {
      if (!(error instanceof DiskError)) throw error;
    }
  }

  #run(op: DiskOp, mayBeRetried: boolean): void {
    try {
      this.#disk.run(op);
    } catch (error) {
      if (mayBeRetried && error instanceof DiskError && error.isForSpace) {
        throw new LogFullError(error);
      }
      throw this.#fail(error);
    }
  }

  #fail(cause: unknown): LogFailedError {
    this.#failure = new LogFailedError(cause);
    return this.#failure;
  }

  #assertUsable(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }
}

/** The state a member starts from. */
export interface Recovery {
  readonly metadata: WalMetadata;
  readonly hardState: WalHardState;
  /** The position just before `entries`. */
  readonly base: LogPosition;
  /** From `base.index + 1` on. */
  readonly entries: readonly WalEntry[];
  /** The log was made by this call. */
  readonly isNew: boolean;
  /** A torn write was truncated: never acknowledged, but worth a warning. */
  readonly cutTail: { readonly file: string; readonly atBytes: number } | undefined;
}

/**
 * Size at which a segment ends, after the batch that reaches it: it may be larger by one buffer.
 */
const SEGMENT_BYTES = 64 * 2 ** 20;
