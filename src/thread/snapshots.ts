import type { SnapshotMeta } from "../raft/entry.js";
import type { Outlet } from "../ring/fragments.js";
import { SnapshotEncoder } from "../store/snapshot.js";
import type { Store } from "../store/store.js";
import { SnapshotType, writeBytes } from "./log-records.js";

/** Blocks on their way to the file: more are not made before these are taken. */
const BYTES_AHEAD_MAX = 1024 * 1024;

/**
 * Takes snapshots of the store, a block in each turn of the core's loop, from a frozen view; a pool
 * thread writes the file.
 */
export class Snapshots {
  readonly #outlet: Outlet;
  readonly #everyEntries: number;
  #encoder: SnapshotEncoder | undefined;
  /** Of the snapshot that is being taken or written. */
  #meta: SnapshotMeta | undefined;
  #lastIndex: number;
  /** Of the store, when the view was taken. */
  #outBytes = 0;
  #viewBytesMax = 0;

  /** @param lastIndex where the newest snapshot ends */
  constructor(outlet: Outlet, everyEntries: number, lastIndex: number) {
    this.#outlet = outlet;
    this.#everyEntries = everyEntries;
    this.#lastIndex = lastIndex;
  }

  isDue(appliedIndex: number): boolean {
    return this.#meta === undefined && appliedIndex - this.#lastIndex >= this.#everyEntries;
  }

  /** The leader's snapshot took the place of the log up to `index`. */
  installed(index: number): void {
    this.#lastIndex = index;
  }

  start(store: Store, meta: SnapshotMeta): void {
    this.#encoder = new SnapshotEncoder(store);
    this.#meta = meta;
    this.#outBytes = store.outBytes;
    this.#viewBytesMax = store.treeBytes;
  }

  /** What the view keeps although it left the tree, at most. */
  viewBytes(store: Store): number {
    if (this.#encoder === undefined) return 0;
    return Math.min(store.outBytes - this.#outBytes, this.#viewBytesMax);
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
