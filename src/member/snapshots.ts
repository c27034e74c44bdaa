import { assert } from "../lib/assert.js";
import { writeBytes } from "../messages/log.js";
import { SnapshotType } from "../messages/pool.js";
import { AnswerType } from "../messages/requests.js";
import type { SnapshotMeta } from "../raft/entry.js";
import type { Outlet } from "../ring/fragments.js";
import type { BlockSource, Machines } from "./machine.js";

/** Blocks on their way to the file: more are not made before these are taken. */
const BYTES_AHEAD_MAX = 1024 * 1024;
/** Places in the bytes of the log that are kept, where it can be cut. */
const MARKS = 16;

/**
 * Takes snapshots of the state machines, a block in each turn of the core's loop, from a frozen view; a pool
 * thread writes the file.
 */
export class Snapshots {
  readonly #outlet: Outlet;
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
   * @param logBytes a snapshot is due when the entries since the last one take more, and more than the state
   * @param lastIndex where the newest snapshot ends
   */
  constructor(outlet: Outlet, everyEntries: number, logBytes: number, lastIndex: number) {
    this.#outlet = outlet;
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

  /** Up to where the log in memory can go, of what the snapshot covers: it keeps some for those a little late. */
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

  start(machines: Machines, meta: SnapshotMeta): void {
    assert(this.#meta === undefined, "one snapshot is taken at a time");
    assert(meta.index >= this.#lastIndex, "snapshots move forward");
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
    if (this.#outlet.canMove()) return true;
    return this.#encoder !== undefined && this.#outlet.queuedBytes < BYTES_AHEAD_MAX;
  }

  step(): void {
    if (this.#encoder !== undefined && this.#outlet.queuedBytes < BYTES_AHEAD_MAX) {
      const block = this.#encoder.next();
      writeBytes(
        this.#outlet,
        block === undefined ? SnapshotType.end : SnapshotType.block,
        block ?? new Uint8Array(0),
      );
      if (block === undefined) this.#encoder = undefined;
    }
    this.#outlet.publish();
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

/** Asks the main thread to have the file written whose blocks follow. */
export function writeSnapshotStart(
  main: Outlet,
  { term, index }: SnapshotMeta,
  metadata: Uint8Array,
): void {
  main.open(16 + metadata.length);
  main.view.setFloat64(main.at, term, true);
  main.view.setFloat64(main.at + 8, index, true);
  main.bytes.set(metadata, main.at + 16);
  main.close(AnswerType.startSnapshot, 16 + metadata.length);
}
