import type { Entry, EntryType, HardState } from "../raft/entry.js";
import { CorruptRecordError, DataDirError, LogGapError } from "./errors.js";
import { RecordType, scanRecord } from "./record.js";
import {
  readSegmentHead,
  SEGMENT_HEAD_BYTES,
  type SegmentHead,
  type SegmentName,
} from "./segment.js";

const ENTRY_HEAD_BYTES = 24;

/** What the log says, and where it goes on. */
export interface LogContent {
  readonly head: SegmentHead;
  /** Behind the asked index, without a gap. Their data are views into the segments read. */
  readonly entries: Entry[];
  readonly hardState: HardState;
  /** Of the last segment: where the next record goes, and the crc that seeds it. */
  readonly end: { readonly name: SegmentName; readonly atBytes: number; readonly crc: number };
  /** Bytes behind the end that are not zero: the rest of writes that were never acknowledged. */
  readonly hasTornTail: boolean;
}

/**
 * Reads the segments that hold anything behind `afterIndex`.
 *
 * @param names all segments, ascending
 * @param read gives the whole file
 * @throws CorruptRecordError, LogGapError, DataDirError
 */
export function readLog(
  names: readonly SegmentName[],
  read: (file: string) => Buffer,
  afterIndex: number,
): LogContent {
  const needed = neededSegments(names, afterIndex);
  const state = new LogState(afterIndex);
  let crc: number | undefined;
  let result: LogContent | undefined;
  for (const [i, name] of needed.entries()) {
    const isLast = i === needed.length - 1;
    const bytes = read(name.file);
    const head = checkHead(bytes, name, crc);
    const end = readRecords(bytes, name, head.crcBefore, isLast, state);
    crc = end.crc;
    if (!isLast) continue;
    result = {
      head,
      entries: state.entries,
      hardState: state.hardState,
      end: { name, atBytes: end.atBytes, crc: end.crc },
      hasTornTail: bytes.subarray(end.atBytes).some((byte) => byte !== 0),
    };
  }
  if (result === undefined) throw new LogGapError("The log has no segments.");
  return result;
}

function neededSegments(names: readonly SegmentName[], afterIndex: number): SegmentName[] {
  let from = 0;
  for (const [i, name] of names.entries()) if (name.firstIndex <= afterIndex + 1) from = i;
  const needed = names.slice(from);
  const first = needed[0];
  if (first !== undefined && first.firstIndex > afterIndex + 1) {
    throw new LogGapError(
      `The log begins at index ${first.firstIndex}, but the newest usable snapshot ends at ${afterIndex}: segments are missing.`,
    );
  }
  for (const [i, name] of needed.entries()) {
    if (first !== undefined && name.sequence !== first.sequence + i) {
      throw new LogGapError(
        `Segment ${first.sequence + i} of the log is missing before ${name.file}.`,
      );
    }
  }
  return needed;
}

function checkHead(bytes: Buffer, name: SegmentName, crcBefore: number | undefined): SegmentHead {
  const scan = readSegmentHead(bytes);
  if (scan.kind === "foreign") {
    throw new DataDirError(`Cannot use the log segment ${name.file}: ${scan.why}`);
  }
  if (scan.kind === "corrupt") throw new CorruptRecordError(name.file, 0, scan.why);
  const { head } = scan;
  if (head.sequence !== name.sequence || head.firstIndex !== name.firstIndex) {
    throw new CorruptRecordError(name.file, 0, "its header belongs to another segment");
  }
  if (crcBefore !== undefined && crcBefore !== head.crcBefore) {
    throw new CorruptRecordError(name.file, 0, "the end of the segment before it is missing");
  }
  return head;
}

function readRecords(
  bytes: Buffer,
  name: SegmentName,
  crcBefore: number,
  isLast: boolean,
  state: LogState,
): { atBytes: number; crc: number } {
  let atBytes = SEGMENT_HEAD_BYTES;
  let crc = crcBefore;
  for (;;) {
    const scan = scanRecord(bytes, atBytes, crc);
    switch (scan.kind) {
      case "record":
        state.take(scan.type, scan.payload, name.file, atBytes);
        crc = scan.crc;
        atBytes = scan.next;
        continue;
      case "end":
        return { atBytes, crc };
      case "torn":
        if (isLast) return { atBytes, crc };
        throw new CorruptRecordError(
          name.file,
          atBytes,
          "a record in the middle of the log is torn",
        );
      case "corrupt":
        throw new CorruptRecordError(name.file, atBytes, scan.why);
    }
  }
}

/** Entries and hard state as the records build them up. */
class LogState {
  readonly entries: Entry[] = [];
  hardState: HardState = { term: 0, vote: 0n, commit: 0 };
  readonly #afterIndex: number;

  constructor(afterIndex: number) {
    this.#afterIndex = afterIndex;
  }

  take(type: number, payload: Buffer, file: string, atBytes: number): void {
    if (type === RecordType.hardState && payload.length === 24) {
      this.hardState = {
        term: payload.readDoubleLE(0),
        commit: payload.readDoubleLE(8),
        vote: payload.readBigUInt64LE(16),
      };
    } else if (type === RecordType.entries) {
      this.#takeEntries(payload, file, atBytes);
    } else {
      throw new CorruptRecordError(file, atBytes, `record type ${type} is unknown`);
    }
  }

  #takeEntries(payload: Buffer, file: string, atBytes: number): void {
    for (let at = 0; at < payload.length; ) {
      const dataBytes = payload.readUInt32LE(at + 20);
      const dataAt = at + ENTRY_HEAD_BYTES;
      this.#takeEntry(
        {
          index: payload.readDoubleLE(at),
          term: payload.readDoubleLE(at + 8),
          type: payload.readUInt32LE(at + 16) as EntryType,
          data: payload.subarray(dataAt, dataAt + dataBytes),
        },
        file,
        atBytes,
      );
      at = dataAt + dataBytes;
    }
  }

  #takeEntry(entry: Entry, file: string, atBytes: number): void {
    if (entry.index <= this.#afterIndex) return;
    const offset = entry.index - this.#afterIndex - 1;
    if (offset > this.entries.length) {
      const last = this.#afterIndex + this.entries.length;
      throw new CorruptRecordError(file, atBytes, `entry ${entry.index} follows entry ${last}`);
    }
    this.entries.length = offset; // A later entry voids those from its index on.
    this.entries.push(entry);
  }
}
