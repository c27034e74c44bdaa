import { assert } from "../lib/assert.js";
import {
  orderSnapshots,
  SNAPSHOT_TEMPORARY_SUFFIX,
  type SnapshotId,
  snapshotName,
} from "./format.js";

/**
 * A snapshot that is read block by block; what was built of the blocks counts once `next` has
 * returned undefined.
 */
export interface SnapshotSource extends SnapshotId {
  /** For messages. */
  readonly path: string;
  readonly metadata: Uint8Array;
  /**
   * @returns the next block, good until the next call, or undefined at the end. @throws RingdError
   */
  next(): Uint8Array | undefined;
  /** Makes its bytes durable, whoever wrote them. @throws DiskError */
  sync(): void;
  close(): void;
}

/** The files of a directory of snapshots: real ones (files.ts), or those of a simulation. */
export interface SnapshotFiles {
  /** All names, in no particular order. @throws DiskError */
  list(): readonly string[];
  /** @throws CorruptSnapshotError, ForeignDataDirError, DiskError */
  open(file: string): SnapshotSource;
  /** @throws DiskError */
  remove(file: string): void;
  /** Makes all names durable, also those that another process gave. @throws DiskError */
  sync(): void;
}

/** The snapshots that a member has. */
export class SnapshotDir {
  readonly #files: SnapshotFiles;

  constructor(files: SnapshotFiles) {
    this.#files = files;
  }

  /**
   * The snapshot to start from: the newest one. Removes the leftovers of unfinished ones.
   *
   * A damaged newest snapshot is rejected rather than skipped: it was whole and durable before it
   * got its name, so the disk has lost data, and someone should know before the member votes again.
   * To start from the one before it, move the file away; the log then has to reach back to that
   * one, which recovery checks (LogGapError).
   *
   * @returns undefined if there is none
   * @throws CorruptSnapshotError, ForeignDataDirError, DiskError
   */
  openNewest(): SnapshotSource | undefined {
    const names = this.#files.list();
    const newest = orderSnapshots(names).at(-1);
    const source = newest === undefined ? undefined : this.open(newest);
    try {
      source?.sync(); // One that was copied here may not be durable yet.
      for (const name of names)
        if (name.endsWith(SNAPSHOT_TEMPORARY_SUFFIX)) this.#files.remove(name);
      // A name given just before the process ended may not be durable yet, and the log may rely on
      // it.
      this.#files.sync();
    } catch (error) {
      source?.close();
      throw error;
    }
    return source;
  }

  /** @throws CorruptSnapshotError, ForeignDataDirError, DiskError */
  open(id: SnapshotId): SnapshotSource {
    const source = this.#files.open(snapshotName(id));
    assert(source.index === id.index && source.term === id.term, "a snapshot is what it is named");
    return source;
  }
}
