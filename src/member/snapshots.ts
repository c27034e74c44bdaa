import { assert } from "../lib/assert.js";
import { writeBytes } from "../messages/log.js";
import { JobType, writeSnapshotJob } from "../messages/pool.js";
import type { SnapshotMeta } from "../raft/entry.js";
import type { Outlet } from "../ring/fragments.js";
import type { BlockSource, Machines } from "./machine.js";

/** Bytes of blocks queued for the pool thread above which no further blocks are encoded. */
const BYTES_AHEAD_MAX = 1024 * 1024;
/** Positions remembered per `logBytes` of log, as candidates to compact to. */
const MARKS = 16;

/**
 * Takes snapshots of the state machines: encodes a frozen view, one block per turn of the core's
 * loop; a pool thread writes the file.
 */
export class Snapshots {
  readonly #jobs: Outlet;
  readonly #everyEntries: number;
  readonly #logBytes: number;
  #encoder: BlockSource | undefined;
  /** Of the snapshot being taken or written. */
  #meta: SnapshotMeta | undefined;
  #lastIndex: number;
  /** `Machines.outBytes` when the view was taken. */
  #outBytes = 0;
  #viewBytesMax = 0;

  /** Data bytes of all entries applied in this incarnation. */
  #appliedBytes = 0;
  /** `#appliedBytes` when the last snapshot was started. */
  #bytesAtLast = 0;
  /** Sampled applied indexes, ascending, each with `#appliedBytes` at that index. */
  #marks: { index: number; bytes: number }[] = [];

  /**
   * @param logBytes a snapshot is due when the entries since the last one take more than this and
   *   more than the state
   * @param lastIndex index of the newest snapshot
   */
  constructor(jobs: Outlet, everyEntries: number, logBytes: number, lastIndex: number) {
    assert(everyEntries > 0 && logBytes > 0, "snapshots are taken of some entries at a time");
    assert(lastIndex >= 0, "0 stands for no snapshot");
    this.#jobs = jobs;
    this.#everyEntries = everyEntries;
    this.#logBytes = logBytes;
    this.#lastIndex = lastIndex;
  }

  isDue(appliedIndex: number, stateBytes: number): boolean {
    assert(appliedIndex >= this.#lastIndex, "what a snapshot holds is applied");
    if (this.#meta !== undefined) return false;
    if (appliedIndex - this.#lastIndex >= this.#everyEntries) return true;
    const bytes = this.#appliedBytes - this.#bytesAtLast;
    assert(bytes >= 0, "applied bytes only grow");
    return bytes > this.#logBytes && bytes > stateBytes && appliedIndex > this.#lastIndex;
  }

  /** Entries up to `index` were applied. */
  applied(index: number, bytes: number): void {
    assert(index > (this.#marks.at(-1)?.index ?? 0), "applied indexes only grow");
    this.#appliedBytes += bytes;
    this.#assertInvariants();
    const last = this.#marks.at(-1)?.bytes ?? 0;
    if (this.#appliedBytes - last < this.#logBytes / MARKS) return;
    this.#marks.push({ index, bytes: this.#appliedBytes });
  }

  /**
   * The index up to which the in-memory log can be compacted. Keeps a tail, so that peers a little
   * behind need no snapshot.
   */
  compactTo(snapshotIndex: number, keepEntries: number): number {
    assert(keepEntries >= 0, "a number of entries is not negative");
    const from = this.#appliedBytes - this.#logBytes;
    const last = this.#marks.findLastIndex(({ index, bytes }) => {
      return bytes <= from && index <= snapshotIndex;
    });
    const byBytes = this.#marks[last]?.index ?? 0;
    this.#marks = this.#marks.slice(Math.max(last, 0));
    assert(byBytes <= snapshotIndex, "entries after the snapshot stay in the log");
    this.#assertInvariants();
    return Math.max(snapshotIndex - keepEntries, byBytes);
  }

  /** The leader's snapshot replaced the log up to `index`. */
  installed(index: number): void {
    assert(index >= this.#lastIndex, "an installed snapshot is newer than the last one");
    this.#lastIndex = index;
  }

  /** @param file format level and metadata for the file's header */
  start(
    machines: Machines,
    meta: SnapshotMeta,
    file: { readonly formatLevel: number; readonly metadata: Uint8Array },
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
    this.#assertInvariants();
  }

  /** Upper bound of the bytes that left the state but are kept alive by the frozen view. */
  viewBytes({ outBytes }: Machines): number {
    if (this.#encoder === undefined) return 0;
    assert(outBytes >= this.#outBytes, "bytes that left the state only grow");
    return Math.min(outBytes - this.#outBytes, this.#viewBytesMax);
  }

  hasWork(): boolean {
    if (this.#jobs.canMove()) return true;
    return this.#encoder !== undefined && this.#jobs.queuedBytes < BYTES_AHEAD_MAX;
  }

  step(): void {
    if (this.#encoder !== undefined && this.#jobs.queuedBytes < BYTES_AHEAD_MAX) {
      assert(this.#meta !== undefined, "a snapshot has no outcome before its end");
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
   * The pool thread finished or failed.
   *
   * @param isWritten false if the file could not be written; the next attempt waits a full interval
   * @returns the snapshot that the log can be compacted to, if it was written
   */
  done(isWritten: boolean, appliedIndex: number): SnapshotMeta | undefined {
    const meta = this.#meta;
    assert(this.#encoder === undefined, "a job takes all its blocks, even after it has failed");
    assert(meta === undefined || meta.index <= appliedIndex, "what a snapshot holds is applied");
    this.#meta = undefined;
    this.#lastIndex = isWritten ? (meta?.index ?? appliedIndex) : appliedIndex;
    this.#assertInvariants();
    return isWritten ? meta : undefined;
  }

  #assertInvariants(): void {
    const newest = this.#marks.at(-1);
    assert(this.#bytesAtLast <= this.#appliedBytes, "applied bytes only grow");
    assert((newest?.bytes ?? 0) <= this.#appliedBytes, "marks are of applied entries");
    assert(this.#viewBytesMax >= 0, "a state's bytes are counted once");
  }
}
