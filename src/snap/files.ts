import { closeSync, openSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { syncDirectory } from "../storage/disk.js";
import { DiskError } from "../storage/errors.js";
import { SNAPSHOT_TEMPORARY_SUFFIX } from "./format.js";
import { SnapshotReader } from "./reader.js";
import type { SnapshotFiles } from "./source.js";

/** The snapshots of a directory of the file system. Blocks the thread. */
export class FileSnapshots implements SnapshotFiles {
  readonly #dir: string;

  constructor(dir: string) {
    this.#dir = dir;
  }

  list(): string[] {
    return this.#try("list", "", () => readdirSync(this.#dir));
  }

  open(file: string): SnapshotReader {
    return new SnapshotReader(this.#dir, file);
  }

  /** What receives snapshots removes its own leftovers, perhaps at the same time. */
  remove(file: string): void {
    this.#try("unlink", file, () => rmSync(join(this.#dir, file), { force: true }));
  }

  sync(): void {
    this.#touch();
    this.#try("syncDirectory", "", () => syncDirectory(this.#dir));
  }

  /**
   * Changes the directory: after a sync of it that failed, the next one might do nothing (see
   * wal/plan.ts).
   */
  #touch(): void {
    const file = `touched${SNAPSHOT_TEMPORARY_SUFFIX}`;
    const path = join(this.#dir, file);
    try {
      this.#try("create", file, () => closeSync(openSync(path, "w", 0o600)));
      this.remove(file);
    } catch (error) {
      // A full disk is no reason not to start.
      if (!(error instanceof DiskError) || !error.isForWant) throw error;
    }
  }

  #try<T>(call: string, file: string, action: () => T): T {
    try {
      return action();
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === undefined) throw error; // A mistake of ours.
      throw new DiskError(call, join(this.#dir, file), code, error);
    }
  }
}
