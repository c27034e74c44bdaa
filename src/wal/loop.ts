import { goDurationOfMs } from "../go/text.js";
import { assert, unreachable } from "../lib/assert.js";
import { RingdError } from "../lib/errors.js";
import type { Logger } from "../log/logger.js";
import {
  AppendType,
  copyEntryData,
  DurableType,
  readEntryHead,
  readHardState,
  writeBytes,
  writeSnapshotHead,
} from "../messages/log.js";
import { ENTRY_BYTES_MAX } from "../messages/log-entry.js";
import { readNumber, writeNumbers } from "../messages/numbers.js";
import { APPEND_RING_BYTES } from "../messages/topology.js";
import type { MetricCells } from "../metrics/cells.js";
import { cellOf } from "../metrics/families.js";
import { FRAGMENTS_PER_RING, Inlet, type Outlet } from "../ring/fragments.js";
import type { RecordCursor } from "../ring/record-cursor.js";
import type { RingReader } from "../ring/ring.js";
import type { SnapshotSource } from "../snap/source.js";
import { LogFailedError, LogFullError } from "../storage/errors.js";
import type { LogPosition } from "./batch.js";
import { type FormatVersion, SEGMENT_FORMAT } from "./segment.js";
import type { Wal } from "./wal.js";
import { BUFFER_BYTES_MAX } from "./write-buffer.js";

const BATCH_RECORDS = 4096;
const STEP_RECORDS = 16;
const BATCH_BYTES_MAX = 4 * 1024 * 1024;
/** While the disk is full: limit of appends in memory. The rest stays in the ring and upstream. */
const FULL_BYTES_MAX = 32 * 1024 * 1024;
/** Limit of snapshot bytes queued for the core. */
const BYTES_AHEAD_MAX = 4 * 1024 * 1024;
/** While the disk is full: interval of retries. */
const RETRY_MS = 500;
/** Interval of the check that the files are still in place, also while idle. */
const LOOK_MS = 1000;

// A step takes that many fragments, and may complete a message of which the others came before.
assert(
  FULL_BYTES_MAX + ENTRY_BYTES_MAX + STEP_RECORDS * (APPEND_RING_BYTES / FRAGMENTS_PER_RING) <=
    BUFFER_BYTES_MAX,
  "a step that begins has room for all that it takes in",
);
assert(
  BATCH_BYTES_MAX < FULL_BYTES_MAX,
  "a full disk leaves room for more than the batch that found it full",
);

/** As in etcd (warnSyncDuration). */
const SLOW_SYNC_SECONDS = 1;

const FSYNC_SECONDS = cellOf("walFsyncDuration");
const FINE_FSYNC_SECONDS = cellOf("ringdFsyncDuration");
const BATCH_SIZE = cellOf("walBatchRecords");
const BATCH_BYTES = cellOf("walBatchBytes");
const WRITTEN_BYTES = cellOf("walWriteBytes");
const RING_FULL = cellOf("ringFull", "wal");
const LAST_INDEX = cellOf("walLastIndexSaved");
const FAILED = cellOf("walFailed");

/** The loop's dependencies; a simulation provides its own disk and clock. */
export interface WalLoopPorts {
  readonly wal: Wal;
  readonly append: RingReader;
  readonly durable: Outlet;
  /** Opens a snapshot received from another member. @throws RingdError */
  readonly openSnapshot: (position: LogPosition) => SnapshotSource;
  /** Checks that all files in use are in place. @returns why the log must stop, or undefined */
  readonly whatIsMissing?: () => string | undefined;
  /** Minimum of segments to keep; 0 keeps all. */
  readonly maxWals: number;
  readonly metrics: MetricCells;
  /** Monotonic clock, milliseconds. */
  readonly monoMs: () => number;
  readonly log: Logger;
}

/**
 * The loop of the thread that owns the disk, one turn at a time: one write and one fdatasync for
 * all jobs since the last turn. While the disk is full it keeps reading jobs up to its buffer's
 * limit, as a purge of old segments or `stop` may follow. A failed log accepts nothing more.
 */
export class WalLoop {
  readonly #ports: WalLoopPorts;
  readonly #append: Inlet;
  #job = 0;
  #reportedJob = 0;
  #batchEntries = 0;
  /** The core does not drain the ring. */
  #isBehind = false;
  /** Time of the next retry on a full disk; undefined while it is not full. */
  #retryMs: number | undefined;
  #lookMs: number;
  #failure: LogFailedError | undefined;
  #source: SnapshotSource | undefined;
  #isStopping = false;
  #isStopped = false;

  constructor(ports: WalLoopPorts) {
    assert(ports.maxWals >= 0, "a number of segments is not negative");
    this.#ports = ports;
    this.#lookMs = ports.whatIsMissing === undefined ? Number.POSITIVE_INFINITY : ports.monoMs();
    this.#append = Inlet.withCursor<AppendType>(ports.append, (record) => {
      if (this.#failure === undefined) this.#take(record);
      else this.#isStopping ||= record.type === AppendType.stop;
    });
  }

  /** The core has sent `stop`, and all earlier jobs are durable or have failed. */
  get isStopped(): boolean {
    return this.#isStopped;
  }

  /** Nothing is written until the member is restarted. */
  get hasFailed(): boolean {
    return this.#failure !== undefined;
  }

  /** The last complete job read. */
  get job(): number {
    return this.#job;
  }

  /** @returns whether it read or sent anything */
  turn(): boolean {
    assert(!this.#isStopped, "a log that has stopped takes no turn");
    assert(this.#reportedJob <= this.#job, "only jobs that were read are reported");
    let taken = 0;
    try {
      if (this.#failure === undefined) this.#look();
      taken = this.#drain();
      this.#sync();
    } catch (error) {
      if (!(error instanceof LogFailedError)) throw error;
      this.#fail(error);
    }
    this.#sendBlocks();
    const { durable, metrics } = this.#ports;
    durable.publish();
    const isBehind = durable.queuedBytes > 0;
    if (isBehind && !this.#isBehind) metrics.add(RING_FULL, 1);
    this.#isBehind = isBehind;
    if (this.#isStopping) {
      const { wal } = this.#ports;
      this.#isStopped =
        this.#failure !== undefined || this.#retryMs !== undefined || !wal.hasUnsynced;
    }
    return taken > 0;
  }

  /** Checked before the thread parks. */
  hasWork(): boolean {
    const { durable, wal } = this.#ports;
    if (durable.canMove()) return true;
    if (this.#source !== undefined && durable.queuedBytes === 0) return true;
    return wal.queuedBytes < this.#bytesMax() && this.#append.hasWork();
  }

  /** Time until the next timed task, milliseconds. */
  msToNext(): number {
    assert(this.#retryMs === undefined || this.#failure === undefined, "a failure is final");
    const atMs = Math.min(this.#retryMs ?? Number.POSITIVE_INFINITY, this.#lookMs);
    return Math.max(0, atMs - this.#ports.monoMs());
  }

  /**
   * Without this check, a log whose directory was removed, moved or unmounted could be written for
   * ever, and never read.
   *
   * @throws LogFailedError
   */
  #look(): void {
    const { monoMs, whatIsMissing, wal } = this.#ports;
    if (monoMs() < this.#lookMs) return;
    this.#lookMs = monoMs() + LOOK_MS;
    const missing = whatIsMissing?.();
    if (missing !== undefined) throw wal.giveUp(missing);
  }

  /** In small steps: each record may hold a large value, and the buffer is bounded. */
  #drain(): number {
    const { wal } = this.#ports;
    let taken = 0;
    while (taken < BATCH_RECORDS && wal.queuedBytes < this.#bytesMax()) {
      const more = this.#append.drain(STEP_RECORDS);
      taken += more;
      if (more < STEP_RECORDS) break;
    }
    assert(taken <= BATCH_RECORDS, "a batch has an end: its jobs wait for its fsync");
    return taken;
  }

  #bytesMax(): number {
    // Nothing is kept any more: only `stop` is looked for, and what was queued stays queued.
    if (this.#failure !== undefined) return Number.POSITIVE_INFINITY;
    return this.#retryMs === undefined ? BATCH_BYTES_MAX : FULL_BYTES_MAX;
  }

  #take(record: RecordCursor<AppendType>): void {
    const { wal, maxWals } = this.#ports;
    const { type } = record;
    switch (type) {
      case AppendType.entry: {
        this.#batchEntries++;
        const head = readEntryHead(record);
        const into = wal.reserve(head.index, head.term, head.type, head.dataBytes);
        copyEntryData(record, wal.buffer, into);
        return;
      }
      case AppendType.hardState:
        wal.setHardState(readHardState(record));
        return;
      case AppendType.endJob: {
        const job = readNumber(record, 0);
        assert(job > this.#job, "jobs end in order");
        this.#job = job;
        return;
      }
      case AppendType.release:
        wal.releaseBefore(readNumber(record, 0), maxWals);
        return;
      case AppendType.install:
        wal.installSnapshot(readPosition(record));
        return;
      case AppendType.loadSnapshot:
        this.#load(readPosition(record));
        return;
      case AppendType.format:
        wal.setFormat(Math.min(readNumber(record, 0), SEGMENT_FORMAT) as FormatVersion);
        return;
      case AppendType.giveUp:
        throw wal.giveUp(record.utf8(0));
      case AppendType.stop:
        this.#isStopping = true;
        return;
      default:
        unreachable(type);
    }
  }

  /** One group commit, if there is anything to write and the disk is not known to be full. */
  #sync(): void {
    if (this.#failure !== undefined) return;
    const { wal, metrics, monoMs, log, durable } = this.#ports;
    if (wal.hasUnsynced) {
      if (this.#retryMs !== undefined && monoMs() < this.#retryMs && !this.#isStopping) return;
      const startMs = monoMs();
      const bytes = wal.queuedBytes;
      try {
        wal.sync();
      } catch (error) {
        if (!(error instanceof LogFullError)) throw error;
        this.#onFull(error);
        return;
      }
      const seconds = (monoMs() - startMs) / 1000;
      metrics.observe(FSYNC_SECONDS, seconds);
      metrics.observe(FINE_FSYNC_SECONDS, seconds);
      if (seconds > SLOW_SYNC_SECONDS) this.#warnOfSlowSync(seconds, bytes);
      metrics.observe(BATCH_BYTES, bytes);
      metrics.add(WRITTEN_BYTES, bytes);
      metrics.observe(BATCH_SIZE, this.#batchEntries);
      this.#batchEntries = 0;
      if (this.#retryMs !== undefined) {
        this.#retryMs = undefined;
        log.info("disk space available again; accepting writes");
        writeNumbers(durable, DurableType.unblocked);
      }
    }
    assert(!wal.hasUnsynced, "a job is reported once all of it is durable");
    if (this.#job === this.#reportedJob) return;
    assert(this.#job > this.#reportedJob, "what was reported stays durable");
    this.#reportedJob = this.#job;
    writeNumbers(durable, DurableType.durable, this.#job);
    metrics.set(LAST_INDEX, wal.durable.index);
  }

  #warnOfSlowSync(seconds: number, bytes: number): void {
    this.#ports.log.warn(
      {
        took: goDurationOfMs(seconds * 1000),
        "expected-duration": goDurationOfMs(SLOW_SYNC_SECONDS * 1000),
        ...{ entries: this.#batchEntries, bytes, "last-index": this.#ports.wal.durable.index },
      },
      "slow fdatasync",
    );
  }

  #onFull(error: LogFullError): void {
    const { log, durable, monoMs } = this.#ports;
    assert(this.#failure === undefined, "a log that failed is not tried again");
    assert(this.#ports.wal.hasUnsynced, "what found no room stays queued");
    if (this.#retryMs === undefined) {
      const what = error.isForSpace
        ? "the disk is full; writes are refused until there is space"
        : "no new file can be opened for the log; writes are refused until one can";
      log.error({ err: error }, what);
      writeBytes(durable, DurableType.blocked, Buffer.from(error.message));
    }
    this.#retryMs = monoMs() + RETRY_MS;
  }

  /** Acknowledges nothing more; the core continues to serve reads. */
  #fail(error: LogFailedError): void {
    const { log, durable, metrics } = this.#ports;
    assert(this.#failure === undefined, "a log fails once");
    metrics.set(FAILED, 1);
    this.#failure = error;
    this.#retryMs = undefined;
    this.#lookMs = Number.POSITIVE_INFINITY;
    log.fatal({ err: error }, "WAL write failed; restart this member once the disk is repaired");
    writeBytes(durable, DurableType.failed, Buffer.from(error.message));
  }

  /** Sends the core a snapshot from another member to continue from; it was verified on receipt. */
  #load(position: LogPosition): void {
    try {
      this.#source?.close();
      this.#source = undefined;
      const source = this.#ports.openSnapshot(position);
      assert(
        source.index >= position.index,
        "a snapshot that is asked for, or a newer one, is read",
      );
      writeSnapshotHead(this.#ports.durable, source);
      this.#source = source;
    } catch (error) {
      this.#onUnreadable(error);
    }
  }

  #sendBlocks(): void {
    const { durable } = this.#ports;
    try {
      while (this.#source !== undefined && durable.queuedBytes < BYTES_AHEAD_MAX) {
        const block = this.#source.next();
        if (block !== undefined) {
          writeBytes(durable, DurableType.snapshotBlock, block);
          continue;
        }
        this.#source.close();
        this.#source = undefined;
        writeBytes(durable, DurableType.snapshotEnd, new Uint8Array(0));
      }
    } catch (error) {
      this.#onUnreadable(error);
    }
  }

  #onUnreadable(error: unknown): void {
    if (!(error instanceof RingdError)) throw error;
    assert(!(error instanceof LogFailedError), "a snapshot that cannot be read is not the log");
    this.#source?.close();
    this.#source = undefined;
    this.#ports.log.error({ err: error }, "cannot read received snapshot");
    writeBytes(this.#ports.durable, DurableType.snapshotFailed, Buffer.from(error.message));
  }
}

function readPosition(record: RecordCursor): LogPosition {
  return { term: readNumber(record, 0), index: readNumber(record, 1) };
}
