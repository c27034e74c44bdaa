import { closeSync, openSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { syncDirectory } from "../storage/disk.js";
import { DiskError } from "../storage/errors.js";
import { SNAPSHOT_TEMPORARY_SUFFIX } from "./format.js";
import { SnapshotReader } from "./reader.js";
import type { SnapshotFiles } from "./source.js";

/** Snapshots in a directory of the file system. Blocks the thread. */
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

  /** The snapshot receiver removes its own leftovers, perhaps at the same time. */
  remove(file: string): void {
    this.#try("unlink", file, () => rmSync(join(this.#dir, file), { force: true }));
  }

  sync(): void {
    this.#touch();
    this.#try("syncDirectory", "", () => syncDirectory(this.#dir));
  }

  /**
   * Changes the directory: after a failed sync of it, the next one might have no effect
   * (wal/plan.ts).
   */
  #touch(): void {
    const file = `touched${SNAPSHOT_TEMPORARY_SUFFIX}`;
    const path = join(this.#dir, file);
    try {
      this.#try("create", file, () => closeSync(openSync(path, "w", 0o600)));
      this.remove(file);
    } catch (error) {
      // A full disk must not prevent a start.
      if (!(error instanceof DiskError) || !error.isForWant) throw error;
    }
  }

  #try<T>(call: string, file: string, action: () => T): T {
    try {
      return action();
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === undefined) throw error; // Our bug.
      throw new DiskError(call, join(this.#dir, file), code, error);
    }
  }
}
