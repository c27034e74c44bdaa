import { assert } from "../lib/assert.js";
import {
  orderSnapshots,
  SNAPSHOT_TEMPORARY_SUFFIX,
  type SnapshotId,
  snapshotName,
} from "./format.js";

/**
 * A snapshot read block by block; state built from the blocks is valid once `next` has returned
 * undefined.
 */
export interface SnapshotSource extends SnapshotId {
  /** For error messages. */
  readonly path: string;
  readonly metadata: Uint8Array;
  /**
   * @returns the next block, valid until the next call; undefined at the end. @throws RingdError
   */
  next(): Uint8Array | undefined;
  /** Makes its bytes durable, whichever process wrote them. @throws DiskError */
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
  /** Makes all names durable, including those of other processes. @throws DiskError */
  sync(): void;
}

/** A member's snapshots. */
export class SnapshotDir {
  readonly #files: SnapshotFiles;

  constructor(files: SnapshotFiles) {
    this.#files = files;
  }

  /**
   * Opens the newest snapshot, to start from. Changes nothing: see `repair`.
   *
   * A damaged newest snapshot is rejected, not skipped: it was complete and durable before it got
   * its name, so the disk has lost data, and the operator must know before the member votes again.
   * To start from the one before, move the file away; recovery checks that the log reaches back to
   * it (LogGapError).
   *
   * @returns undefined if there is none
   * @throws CorruptSnapshotError, ForeignDataDirError, DiskError
   */
  openNewest(): SnapshotSource | undefined {
    const newest = orderSnapshots(this.#files.list()).at(-1);
    return newest === undefined ? undefined : this.open(newest);
  }

  /**
   * Makes the snapshot that a member starts from durable, and removes unfinished ones.
   *
   * @throws DiskError
   */
  repair(source: SnapshotSource | undefined): void {
    source?.sync(); // A copied file may not be durable yet.
    for (const name of this.#files.list()) {
      if (name.endsWith(SNAPSHOT_TEMPORARY_SUFFIX)) this.#files.remove(name);
    }
    // A name given just before the last exit may not be durable yet, and the log may rely on it.
    this.#files.sync();
  }

  /** @throws CorruptSnapshotError, ForeignDataDirError, DiskError */
  open(id: SnapshotId): SnapshotSource {
    const source = this.#files.open(snapshotName(id));
    assert(source.index === id.index && source.term === id.term, "a snapshot is what it is named");
    return source;
  }
}
