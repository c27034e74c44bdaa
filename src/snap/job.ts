import { systemReason } from "../lib/errors.js";
import type { SnapshotJobHead } from "../messages/pool.js";
import { DiskError } from "../storage/errors.js";
import { purge, SnapshotWriter } from "./writer.js";

/**
 * Writes the blocks of one snapshot to a file as they come, then removes old files. Blocks, so it
 * belongs to the pool.
 *
 * A disk that fails is the job's outcome; the blocks after it are let go. An exception is a mistake
 * of ours.
 */
export class SnapshotJob {
  readonly #directory: string;
  readonly #keep: number;
  #writer: SnapshotWriter | undefined;
  #failure: DiskError | undefined;

  /** @param keep how many files stay; 0 keeps all */
  constructor(directory: string, keep: number, head: SnapshotJobHead) {
    this.#directory = directory;
    this.#keep = keep;
    this.#attempt(() => {
      this.#writer = new SnapshotWriter(directory, head, head.version);
    });
  }

  /** @param bytes not kept */
  block(bytes: Uint8Array): void {
    this.#attempt(() => this.#writer?.writeBlock(bytes));
  }

  /** All blocks came. */
  finish(): SnapshotOutcome {
    let oldestIndex = 0;
    const unremoved: string[] = [];
    this.#attempt(() => {
      this.#writer?.finish();
      const onRefusal = (error: unknown) => unremoved.push(systemReason(error));
      oldestIndex = purge(this.#directory, this.#keep, onRefusal)?.index ?? 0;
    });
    const failure = this.#failure;
    if (failure === undefined) {
      const flushSeconds = this.#writer?.flushSeconds ?? [];
      return { kind: "saved", oldestIndex, flushSeconds, unremoved: unremoved.join("; ") };
    }
    try {
      this.#writer?.abort();
    } catch (error) {
      if (!isOfDisk(error)) throw error; // What is left of the file is removed at the next start.
    }
    return { kind: "failed", why: failure.message, isForWant: failure.isForWant };
  }

  /** Does nothing after the first failure, which is the one that counts. */
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
      /** Of the oldest snapshot kept: the log is needed from there on. */
      readonly oldestIndex: number;
      /** Of each fdatasync of the file. */
      readonly flushSeconds: readonly number[];
      /** Why old snapshots could not be removed; "" if all were. */
      readonly unremoved: string;
    }
  | {
      readonly kind: "failed";
      readonly why: string;
      /**
       * Space was lacking, or something else that may return; otherwise the disk fails or is gone.
       */
      readonly isForWant: boolean;
    };

function isOfDisk(error: unknown): error is DiskError | { readonly code: string } {
  return (error as NodeJS.ErrnoException).code !== undefined;
}
