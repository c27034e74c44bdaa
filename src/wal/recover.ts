import { assert, unreachable } from "../lib/assert.js";
import { NO_HARD_STATE, type WalEntry, type WalHardState } from "../messages/log-entry.js";
import { CorruptRecordError, ForeignDataDirError, LogGapError } from "../storage/errors.js";
import { type Batch, decodeBatch, decodeSnapshotMark, type LogPosition } from "./batch.js";
import {
  findDurableMark,
  RECORD_ALIGN_BYTES,
  RECORD_BATCH,
  RECORD_SNAPSHOT,
  type RecordForm,
  scanRecord,
} from "./record.js";
import {
  decodeSegmentHeader,
  type FormatVersion,
  newerFormat,
  parseSegmentName,
  recordForm,
  SEGMENT_HEADER_BYTES,
  type SegmentHeader,
  segmentName,
  type WalMetadata,
} from "./segment.js";

const MEANWHILE_BYTES = 1024 * 1024;

/** A log, read back. */
export interface Replay {
  readonly metadata: WalMetadata;
  readonly hardState: WalHardState;
  /** The position just before `entries`: the log's begin, or the requested one. */
  readonly base: LogPosition;
  /** From `base.index + 1`, without gaps. Their data are views into the segments' bytes. */
  readonly entries: readonly WalEntry[];
  readonly last: LogPosition;
  readonly segments: readonly {
    readonly file: string;
    readonly firstIndex: number;
  }[];
  /**
   * Where to resume writing: the next record's place in the last segment, and the crc that seeds
   * it.
   */
  readonly tail: {
    readonly file: string;
    readonly sequence: number;
    readonly atBytes: number;
    readonly crc: number;
    readonly fileBytes: number;
    readonly version: FormatVersion;
    readonly form: RecordForm;
    /** Everything before this was durable when the rest was written. */
    readonly durableToBytes: number;
    /** The bytes from there to the end of the last record, as read: perhaps not on disk. */
    readonly undurable: Uint8Array;
  };
  /** Bytes other than zeros follow the last record: remains of a crash. */
  readonly hasRest: boolean;
  /** A record was in flight when the machine stopped; nothing in it was acknowledged. */
  readonly isTorn: boolean;
}

/**
 * Reads a log back, segment by segment, oldest first.
 *
 * Entries may be dropped (`keepFromIndex`), but every record is checked. `finish` rejects an index
 * before the log's begin.
 */
export class LogReplay {
  readonly #dir: string;
  readonly #keepFromIndex: number;
  readonly #meanwhile: () => void;
  #entries: WalEntry[] = [];
  /** The position after which the log itself begins; `#base` advances as entries are dropped. */
  #floor: LogPosition = { index: 0, term: 0 };
  #isFloorSnapshot = false;
  #base: LogPosition = { index: 0, term: 0 };
  #last: LogPosition = { index: 0, term: 0 };
  #hardState = NO_HARD_STATE;
  #metadata: WalMetadata | undefined;
  #crc = 0;
  #sequence = 0;
  readonly #segments: { file: string; firstIndex: number }[] = [];
  #tail: Replay["tail"] | undefined;
  #hasRest = false;
  #isTorn = false;

  /**
   * @param dir for messages
   * @param keepFromIndex entries before it are checked and dropped
   * @param meanwhile called about once per megabyte, for the thread's other work
   */
  constructor(dir: string, keepFromIndex: number, meanwhile: () => void = () => {}) {
    assert(keepFromIndex >= 1, "indexes begin at 1");
    this.#dir = dir;
    this.#keepFromIndex = keepFromIndex;
    this.#meanwhile = meanwhile;
  }

  /**
   * @param bytes the whole file; entries keep views into it
   * @param isLast only the last segment may have a torn record: each earlier one was synced to
   *   its end before its successor was made
   * @throws CorruptRecordError, LogGapError, ForeignDataDirError
   */
  segment(file: string, bytes: Uint8Array, isLast: boolean): void {
    assert(this.#tail === undefined, "the last segment comes last");
    const { header, crc } = this.#header(file, bytes);
    this.#crc = crc;
    this.#sequence = header.sequence;
    this.#segments.push({ file, firstIndex: header.firstIndex });
    const form = recordForm(header.version, crc);
    let durableTo = 0; // Version 1 has no flag, so none of it is known to be durable.
    let at = SEGMENT_HEADER_BYTES;
    let pauseAt = 0;
    for (;;) {
      if (at >= pauseAt) {
        this.#meanwhile();
        pauseAt = at + MEANWHILE_BYTES;
      }
      const scan = scanRecord(bytes, at, this.#crc, form);
      switch (scan.kind) {
        case "record":
          if (scan.isDurableBefore) durableTo = at;
          this.#record(file, at, scan.type, scan.payload);
          this.#crc = scan.crc;
          at = scan.next;
          continue;
        case "damaged":
          throw new CorruptRecordError(this.#path(file), at, scan.why);
        case "torn":
          if (!isLast) {
            throw new CorruptRecordError(
              this.#path(file),
              at,
              "the record is truncated in the middle of the log",
            );
          }
          this.#isTorn = true;
          break;
        case "end":
          break;
        default:
          unreachable(scan);
      }
      break;
    }
    if (!isLast) return;
    this.#hasRest = lastNonZero(bytes, at) > at;
    if (this.#hasRest) this.#checkRest(file, bytes, at, form);
    this.#tail = {
      ...{ file, sequence: header.sequence, atBytes: at, crc: this.#crc },
      ...{ fileBytes: bytes.length, version: header.version, form },
      ...{ durableToBytes: durableTo, undurable: bytes.subarray(durableTo, at) },
    };
  }

  /** Rule 5 of record.ts. */
  #checkRest(file: string, bytes: Uint8Array, at: number, form: RecordForm): void {
    const mark = findDurableMark(bytes, at + RECORD_ALIGN_BYTES, form);
    if (mark === undefined) return;
    const why = `the disk has lost what was durable before the record at byte ${mark} was written`;
    throw new CorruptRecordError(this.#path(file), at, why);
  }

  /**
   * @param snapshotIndex of the snapshot the member starts from; 0 if there is none
   * @throws LogGapError if there are entries missing between the snapshot and the log
   */
  finish(snapshotIndex: number): Replay {
    assert(this.#tail !== undefined && this.#metadata !== undefined, "a log has a last segment");
    assert(this.#keepFromIndex <= snapshotIndex + 1, "no entry after the snapshot is dropped");
    this.#assertNoGap();
    if (this.#floor.index > snapshotIndex) {
      const snapshot =
        snapshotIndex === 0 ? "no snapshot" : `the newest snapshot at ${snapshotIndex}`;
      throw new LogGapError(
        `${this.#dir} begins after index ${this.#floor.index}, and there is ${snapshot}`,
      );
    }
    return {
      metadata: this.#metadata,
      hardState: this.#settledHardState(),
      base: this.#base,
      entries: this.#entries,
      last: this.#last,
      segments: this.#segments,
      tail: this.#tail,
      hasRest: this.#hasRest,
      isTorn: this.#isTorn,
    };
  }

  #header(file: string, bytes: Uint8Array): { header: SegmentHeader; crc: number } {
    const name = parseSegmentName(file);
    assert(name !== undefined, "only segments are read");
    const scan = decodeSegmentHeader(bytes);
    switch (scan.kind) {
      case "etcd":
        throw new ForeignDataDirError(this.#dir, `${file} was written by etcd`, "log directory");
      case "newer":
        throw new ForeignDataDirError(
          this.#dir,
          newerFormat(file, scan.version, scan.writer),
          "log directory",
        );
      case "damaged":
        throw new CorruptRecordError(this.#path(file), scan.atBytes, scan.why);
      case "header":
        break;
      default:
        unreachable(scan);
    }
    const { header } = scan;
    if (segmentName(header.sequence, header.firstIndex) !== file) {
      throw new CorruptRecordError(this.#path(file), 16, "the file's name and header differ");
    }
    const before = this.#segments.at(-1);
    if (before === undefined) {
      this.#metadata = header.metadata;
      this.#hardState = header.hardState;
      this.#restart({ index: header.firstIndex - 1, term: header.prevTerm }, false);
      return scan;
    }
    if (header.sequence !== this.#sequence + 1) {
      throw new LogGapError(
        `a segment is missing in ${this.#dir} between ${before.file} and ${file}`,
      );
    }
    if (header.prevCrc !== this.#crc || header.firstIndex !== this.#last.index + 1) {
      throw new CorruptRecordError(
        this.#path(file),
        24,
        `it does not continue ${before.file}, which ends with index ${this.#last.index}`,
      );
    }
    // May be newer than all records, if the batch that should follow was never written. As it will
    // apply once the earlier segments are dropped, it must apply now.
    this.#hardState = header.hardState;
    return scan;
  }

  #record(file: string, at: number, type: number, payload: Uint8Array): void {
    if (type === RECORD_SNAPSHOT) {
      const mark = decodeSnapshotMark(payload);
      if (typeof mark === "string") throw new CorruptRecordError(this.#path(file), at, mark);
      this.#restart(mark, true);
      return;
    }
    assert(type === RECORD_BATCH, "every type of record is read");
    const batch = decodeBatch(payload, this.#keepFromIndex);
    if (typeof batch === "string") throw new CorruptRecordError(this.#path(file), at, batch);
    this.#add(file, at, batch);
    if (batch.hardState !== undefined) this.#hardState = batch.hardState;
  }

  #restart(base: LogPosition, isSnapshot: boolean): void {
    this.#isFloorSnapshot = isSnapshot;
    this.#entries = [];
    this.#floor = base;
    this.#base = base;
    this.#last = base;
    assert(
      !isSnapshot || this.#metadata !== undefined,
      "a snapshot mark follows a segment's header",
    );
  }

  /** Adds a batch; a later record replaces the entries from its first index on. */
  #add(file: string, at: number, { first, last, dropped, entries }: Batch): void {
    if (first === undefined || last === undefined) return;
    if (first.index <= this.#floor.index && !this.#isFloorSnapshot) {
      // It replaced entries of a segment dropped since, so the snapshot that allowed the drop
      // covers it. Its own term is known, that of the entry before is not: begin after it.
      this.#restart(first, false);
    } else if (first.index > this.#last.index + 1 || first.index <= this.#floor.index) {
      const has = `the log holds ${this.#floor.index + 1} to ${this.#last.index}`;
      throw new CorruptRecordError(
        this.#path(file),
        at,
        `entry ${first.index} does not fit, ${has}`,
      );
    }
    // If dropped entries are replaced, the first of the replacements is dropped, too, which
    // corrects the base.
    this.#entries.length = Math.max(0, first.index - this.#base.index - 1);
    if (dropped !== undefined) this.#base = dropped;
    for (const entry of entries) {
      if (entry.index > this.#base.index) this.#entries.push(entry);
    }
    this.#last = last;
    this.#assertNoGap();
  }

  #assertNoGap(): void {
    const count = this.#entries.length;
    assert(this.#base.index + count === this.#last.index, "entries reach from base to last");
    assert(count === 0 || this.#entries[count - 1]?.index === this.#last.index, "without gaps");
  }

  /**
   * A batch split over several records has its hard state in the last one. If the disk has only the
   * first ones, nothing of the batch was acknowledged, neither a vote in its term nor an entry: so
   * the member has not voted in that term.
   */
  #settledHardState(): WalHardState {
    const { term, vote, commit } = this.#hardState;
    const known = Math.min(Math.max(commit, this.#base.index), this.#last.index);
    assert(known >= this.#base.index, "what precedes the log is committed");
    if (term >= this.#last.term) return { term, vote, commit: known };
    return { term: this.#last.term, vote: 0n, commit: known };
  }

  #path(file: string): string {
    return `${this.#dir}/${file}`;
  }
}

/** Offset after the last byte from `from` on that is not zero; `from` if all are. */
function lastNonZero(bytes: Uint8Array, from: number): number {
  let end = bytes.length;
  while (end > from && bytes[end - 1] === 0) end--;
  return end;
}
