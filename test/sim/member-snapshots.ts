import { assert } from "#ringd/lib/assert.js";
import { DiskError } from "#ringd/storage/errors.js";
import type { LogPosition } from "#ringd/wal/batch.js";
import type { SnapshotSource } from "#ringd/wal/loop.js";

export interface SnapshotFile extends LogPosition {
  readonly metadata: Uint8Array;
  readonly blocks: readonly Uint8Array[];
}

/** The snapshot directory of one member. A file has its name once it is whole and durable, as in snap/. */
export class SimSnapshots {
  /** Oldest first. */
  #files: SnapshotFile[] = [];

  get newest(): SnapshotFile | undefined {
    return this.#files.at(-1);
  }

  add(file: SnapshotFile): void {
    const isOther = ({ term, index }: SnapshotFile) => term !== file.term || index !== file.index;
    this.#files = [...this.#files.filter(isOther), file].sort(
      (a, b) => a.index - b.index || a.term - b.term,
    );
  }

  /** @returns the index of the oldest that is kept */
  purge(keep: number): number {
    if (keep > 0) this.#files = this.#files.slice(-keep);
    return this.#files[0]?.index ?? 0;
  }

  /** @param failsAfter so many blocks can be read */
  open({ term, index }: LogPosition, failsAfter: number): SnapshotSource {
    const name = `${term}-${index}.snap`;
    const file = this.#files.find((other) => other.term === term && other.index === index);
    if (file === undefined) throw new DiskError("open", name, "ENOENT");
    const blocks = file.blocks.values();
    let isOpen = true;
    let left = failsAfter;
    return {
      term,
      index,
      metadata: file.metadata,
      next: () => {
        assert(isOpen, "a snapshot is read before it is closed");
        if (left-- <= 0) throw new DiskError("read", name, "EIO");
        return blocks.next().value;
      },
      close: () => {
        isOpen = false;
      },
    };
  }
}
