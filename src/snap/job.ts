import { systemReason } from "../lib/errors.js";
import type { SnapshotJobHead } from "../messages/pool.js";
import { DiskError } from "../storage/errors.js";
import { SNAPSHOT_FORMAT } from "./format.js";
import { purge, SnapshotWriter } from "./writer.js";

/** The files of a job. Both throw errors of the file system. */
export interface JobFiles {
  readonly open: (head: SnapshotJobHead) => SnapshotWriter;
  /**
   * Removes old files.
   *
   * @param onRefusal called with the error of each that cannot be removed
   * @returns index of the oldest one kept, to which the log must reach back; 0 without one
   */
  readonly purge: (onRefusal: (error: unknown) => void) => number;
}

/** The member's own snapshots. */
function ownFiles(directory: string, keep: number): JobFiles {
  return {
    open: (head) =>
      new SnapshotWriter(directory, head, Math.min(head.formatLevel, SNAPSHOT_FORMAT)),
    purge: (onRefusal) => purge(directory, keep, onRefusal)?.index ?? 0,
  };
}

/**
 * Writes the blocks of one snapshot to a file as they arrive, then removes old files. Synchronous:
 * for the pool's threads.
 *
 * A failed disk becomes the job's outcome, and further blocks are ignored. Exceptions are our bugs.
 */
export class SnapshotJob {
  readonly #directory: string;
  readonly #files: JobFiles;
  #writer: SnapshotWriter | undefined;
  #failure: DiskError | undefined;

  /** @param keep number of files to keep; 0 keeps all */
  constructor(
    directory: string,
    keep: number,
    head: SnapshotJobHead,
    files = ownFiles(directory, keep),
  ) {
    this.#directory = directory;
    this.#files = files;
    this.#attempt(() => {
      this.#writer = files.open(head);
    });
  }

  /** @param bytes not kept */
  block(bytes: Uint8Array): void {
    this.#attempt(() => this.#writer?.writeBlock(bytes));
  }

  /** Call after the last block. */
  finish(): SnapshotOutcome {
    let oldestIndex = 0;
    const unremoved: string[] = [];
    this.#attempt(() => {
      this.#writer?.finish();
      const onRefusal = (error: unknown) => unremoved.push(systemReason(error));
      oldestIndex = this.#files.purge(onRefusal);
    });
    const failure = this.#failure;
    if (failure === undefined) {
      const flushSeconds = this.#writer?.flushSeconds ?? [];
      return { kind: "saved", oldestIndex, flushSeconds, unremoved: unremoved.join("; ") };
    }
    try {
      this.#writer?.abort();
    } catch (error) {
      if (!isOfDisk(error)) throw error; // The next start removes the unfinished file.
    }
    return { kind: "failed", why: failure.message, isForWant: failure.isForWant };
  }

  /** A no-op after the first failure, which is reported. */
  #attempt(action: () => void): void {
    if (this.#failure !== undefined) return;
    try {
      action();
    } catch (error) {
      if (!isOfDisk(error)) throw error;
      this.#failure =
        error instanceof DiskError
          ? error
          : new DiskError("save", this.#directory, error.code, error);
    }
  }
}

export type SnapshotOutcome =
  | {
      readonly kind: "saved";
      /** Index of the oldest snapshot kept: the log must reach back to it. */
      readonly oldestIndex: number;
      /** Duration of each fdatasync of the file. */
      readonly flushSeconds: readonly number[];
      /** Why old snapshots could not be removed; "" if all were. */
      readonly unremoved: string;
    }
  | {
      readonly kind: "failed";
      readonly why: string;
      /**
       * Space or another resource that may return was lacking; else the disk has failed or is
       * missing.
       */
      readonly isForWant: boolean;
    };

function isOfDisk(error: unknown): error is DiskError | { readonly code: string } {
  return (error as NodeJS.ErrnoException).code !== undefined;
}
