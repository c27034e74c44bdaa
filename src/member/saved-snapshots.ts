import { assert } from "../lib/assert.js";
import type { Logger } from "../log/logger.js";
import { writeBytes } from "../messages/log.js";
import {
  type FailedSnapshot,
  JobType,
  type SavedSnapshot,
  writeSnapshotJob,
} from "../messages/pool.js";
import type { MetricCells } from "../metrics/cells.js";
import { cellOf } from "../metrics/families.js";
import type { Outlet } from "../ring/fragments.js";
import type { BlockSource } from "./machine.js";
import { SAVED_BLOCK_BYTES, type SavedState, savedHead } from "./snapshot-service.js";
import type { TurnTimes } from "./times.js";

/** Bytes of blocks queued for the pool above which no further blocks are encoded. */
const BYTES_AHEAD_MAX = 1024 * 1024;
/** A block is made no more often, for the reason that Listings has. */
const BLOCK_MS = 2;

const SAVED = cellOf("savedSnapshots", "saved");
const FAILED = cellOf("savedSnapshots", "failed");
const LAST_SAVED = cellOf("lastSavedSnapshot");

export interface SavedSnapshotsPorts {
  /** To the pool's thread of its own: a slow or dead file system holds up nothing else. */
  readonly jobs: Outlet;
  /** 0: none are saved. */
  readonly intervalMs: number;
  readonly state: SavedState;
  readonly times: TurnTimes;
  readonly metrics: MetricCells;
  readonly log: Pick<Logger, "info" | "warn">;
}

/**
 * Saves a snapshot file every interval (snap/saved-files.ts), by the wall clock, so that restarts
 * do not put it off. Members of a cluster do so at different times.
 */
export class SavedSnapshots {
  readonly #ports: SavedSnapshotsPorts;
  /** Number of the interval that the last one was saved in. */
  #interval: number;
  /** Of the snapshot being encoded. */
  #encoder: BlockSource | undefined;
  /** Etcd index of the snapshot being encoded or written. */
  #index: number | undefined;
  #nextBlockMs = 0;
  #outBytes = 0;
  #viewBytesMax = 0;

  constructor(ports: SavedSnapshotsPorts) {
    assert(ports.intervalMs >= 0, "an interval is not negative");
    this.#ports = ports;
    this.#interval = this.#intervalAt(ports.times.wallMs);
  }

  /** Called once per raft tick. */
  tick(): void {
    const { intervalMs, times, state } = this.#ports;
    if (intervalMs === 0 || this.#index !== undefined) return;
    // A member that joined has nothing before the leader sends it.
    if (state.applier.index === 0) return;
    const interval = this.#intervalAt(times.wallMs);
    if (interval === this.#interval) return;
    this.#interval = interval;
    this.#start();
  }

  #intervalAt(wallMs: number): number {
    const { intervalMs, state } = this.#ports;
    if (intervalMs === 0) return 0;
    const offsetMs = Number(state.raft.id % BigInt(intervalMs));
    assert(offsetMs >= 0 && offsetMs < intervalMs, "a member saves once in each interval");
    return Math.floor((wallMs + offsetMs) / intervalMs);
  }

  #start(): void {
    const { jobs, state } = this.#ports;
    const { machines, store } = state;
    assert(this.#ports.intervalMs > 0, "none is saved unless it was asked for");
    assert(this.#encoder === undefined, "one is saved at a time");
    assert(this.#index === undefined, "one begins after the outcome of the last one");
    const { index, term, metadata } = savedHead(state);
    writeSnapshotJob(jobs, { index, term, metadata, formatLevel: state.head().format });
    this.#encoder = machines.encoder(SAVED_BLOCK_BYTES);
    this.#index = store.index;
    this.#outBytes = machines.outBytes;
    this.#viewBytesMax = machines.stateBytes;
  }

  /** Upper bound of the bytes that left the state but are kept alive by the frozen view. */
  viewBytes(): number {
    if (this.#encoder === undefined) return 0;
    const { outBytes } = this.#ports.state.machines;
    assert(outBytes >= this.#outBytes, "bytes that left the state only grow");
    return Math.min(outBytes - this.#outBytes, this.#viewBytesMax);
  }

  /** Milliseconds until `step` would do something by itself; Infinity if never. */
  msToNext(monoMs: number): number {
    return this.#canEncode() ? Math.max(0, this.#nextBlockMs - monoMs) : Number.POSITIVE_INFINITY;
  }

  hasWork(): boolean {
    if (this.#ports.jobs.canMove()) return true;
    return this.#canEncode() && this.#ports.times.monoMs >= this.#nextBlockMs;
  }

  step(): void {
    const { jobs, times } = this.#ports;
    if (this.#encoder !== undefined && this.#canEncode() && times.monoMs >= this.#nextBlockMs) {
      assert(this.#index !== undefined, "a snapshot has no outcome before its end");
      const block = this.#encoder.next();
      const type = block === undefined ? JobType.end : JobType.block;
      writeBytes(jobs, type, block ?? new Uint8Array(0));
      if (block === undefined) this.#encoder = undefined;
      this.#nextBlockMs = times.monoMs + BLOCK_MS;
    }
    jobs.publish();
  }

  #canEncode(): boolean {
    return this.#encoder !== undefined && this.#ports.jobs.queuedBytes < BYTES_AHEAD_MAX;
  }

  /** The pool wrote the file. */
  saved({ seconds, unremoved }: SavedSnapshot): void {
    const { metrics, times, log } = this.#ports;
    assert(this.#index !== undefined, "an outcome is of the snapshot that was begun");
    assert(this.#encoder === undefined, "a file is whole only after its last block");
    assert(seconds >= 0, "a job's end comes after its head");
    metrics.add(SAVED, 1);
    metrics.set(LAST_SAVED, times.wallMs / 1000);
    log.info({ index: this.#index, seconds: Number(seconds.toFixed(3)) }, "saved snapshot file");
    if (unremoved !== "") log.warn({ reason: unremoved }, "cannot remove old snapshot files");
    this.#index = undefined;
  }

  /** The pool could not write the file; the next interval brings another. */
  failed({ why }: FailedSnapshot): void {
    const { metrics, log } = this.#ports;
    assert(this.#index !== undefined, "an outcome is of the snapshot that was begun");
    assert(this.#encoder === undefined, "a job takes all its blocks, even after it has failed");
    metrics.add(FAILED, 1);
    log.warn({ reason: why }, "cannot save snapshot file");
    this.#index = undefined;
  }
}
