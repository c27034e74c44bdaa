import { assert } from "../lib/assert.js";
import { writeBytes } from "../messages/log.js";
import { JobType, writeSnapshotJob } from "../messages/pool.js";
import type { SnapshotMeta } from "../raft/entry.js";
import type { Outlet } from "../ring/fragments.js";
import type { BlockSource, Machines } from "./machine.js";

/** Blocks on their way to the file: more are not made before these are taken. */
const BYTES_AHEAD_MAX = 1024 * 1024;
/** Places in the bytes of the log that are kept, where it can be cut. */
const MARKS = 16;

/**
 * Takes snapshots of the state machines, a block in each turn of the core's loop, from a frozen
 * view; a pool thread writes the file.
 */
export class Snapshots {
  readonly #jobs: Outlet;
  readonly #everyEntries: number;
  readonly #logBytes: number;
  #encoder: BlockSource | undefined;
  /** Of the snapshot that is being taken or written. */
  #meta: SnapshotMeta | undefined;
  #lastIndex: number;
  /** Of the machines, when the view was taken. */
  #outBytes = 0;
  #viewBytesMax = 0;

  /** Of the entries applied in this incarnation. */
  #appliedBytes = 0;
  /** The same when the last snapshot was begun. */
  #bytesAtLast = 0;
  /** Some of the entries applied, ascending, with the bytes up to them. */
  #marks: { index: number; bytes: number }[] = [];

  /**
   * @param logBytes a snapshot is due when the entries since the last one take more, and more than
   *   the state
   * @param lastIndex where the newest snapshot ends
   */
  constructor(jobs: Outlet, everyEntries: number, logBytes: number, lastIndex: number) {
    this.#jobs = jobs;
    this.#everyEntries = everyEntries;
    this.#logBytes = logBytes;
    this.#lastIndex = lastIndex;
  }

  isDue(appliedIndex: number, stateBytes: number): boolean {
    if (this.#meta !== undefined) return false;
    if (appliedIndex - this.#lastIndex >= this.#everyEntries) return true;
    const bytes = this.#appliedBytes - this.#bytesAtLast;
    return bytes > this.#logBytes && bytes > stateBytes && appliedIndex > this.#lastIndex;
  }

  /** Entries up to `index` were applied. */
  applied(index: number, bytes: number): void {
    assert(index > (this.#marks.at(-1)?.index ?? 0), "applied entries are new");
    this.#appliedBytes += bytes;
    const last = this.#marks.at(-1)?.bytes ?? 0;
    if (this.#appliedBytes - last < this.#logBytes / MARKS) return;
    this.#marks.push({ index, bytes: this.#appliedBytes });
  }

  /**
   * Up to where the log in memory can go, of what the snapshot covers: it keeps some for those a
   * little late.
   */
  compactTo(snapshotIndex: number, keepEntries: number): number {
    const from = this.#appliedBytes - this.#logBytes;
    const last = this.#marks.findLastIndex(({ index, bytes }) => {
      return bytes <= from && index <= snapshotIndex;
    });
    const byBytes = this.#marks[last]?.index ?? 0;
    this.#marks = this.#marks.slice(Math.max(last, 0));
    assert(byBytes <= snapshotIndex, "what the snapshot lacks stays in the log");
    return Math.max(snapshotIndex - keepEntries, byBytes);
  }

  /** The leader's snapshot took the place of the log up to `index`. */
  installed(index: number): void {
    assert(index >= this.#lastIndex, "an installed snapshot is newer than the last one");
    this.#lastIndex = index;
  }

  /** @param file format version and metadata of the file */
  start(
    machines: Machines,
    meta: SnapshotMeta,
    file: { readonly version: number; readonly metadata: Uint8Array },
  ): void {
    assert(this.#meta === undefined, "one snapshot is taken at a time");
    assert(meta.index >= this.#lastIndex, "snapshots move forward");
    const { term, index } = meta;
    writeSnapshotJob(this.#jobs, { term, index, ...file });
    this.#encoder = machines.encoder();
    this.#meta = meta;
    this.#bytesAtLast = this.#appliedBytes;
    this.#outBytes = machines.outBytes;
    this.#viewBytesMax = machines.stateBytes;
  }

  /** What the view keeps although it left the state, at most. */
  viewBytes({ outBytes }: Machines): number {
    if (this.#encoder === undefined) return 0;
    return Math.min(outBytes - this.#outBytes, this.#viewBytesMax);
  }

  hasWork(): boolean {
    if (this.#jobs.canMove()) return true;
    return this.#encoder !== undefined && this.#jobs.queuedBytes < BYTES_AHEAD_MAX;
  }

  step(): void {
    if (this.#encoder !== undefined && this.#jobs.queuedBytes < BYTES_AHEAD_MAX) {
      const block = this.#encoder.next();
      writeBytes(
        this.#jobs,
        block === undefined ? JobType.end : JobType.block,
        block ?? new Uint8Array(0),
      );
      if (block === undefined) this.#encoder = undefined;
    }
    this.#jobs.publish();
  }

  /**
   * The pool thread is done.
   *
   * @param isWritten false if the file could not be written; the next one is tried much later
   * @returns the snapshot that can now stand for the log, if it was written
   */
  done(isWritten: boolean, appliedIndex: number): SnapshotMeta | undefined {
    const meta = this.#meta;
    this.#meta = undefined;
    this.#lastIndex = isWritten ? (meta?.index ?? appliedIndex) : appliedIndex;
    return isWritten ? meta : undefined;
  }
}
