import { assert } from "#ringd/lib/assert.js";
import { orderSnapshots, SNAPSHOT_TEMPORARY_SUFFIX, snapshotName } from "#ringd/snap/format.js";
import type { SnapshotFiles, SnapshotSource } from "#ringd/snap/source.js";
import { DiskError } from "#ringd/storage/errors.js";
import type { LogPosition } from "#ringd/wal/batch.js";

export interface SnapshotFile extends LogPosition {
  readonly metadata: Uint8Array;
  readonly blocks: readonly Uint8Array[];
}

/**
 * The snapshot directory of one member. As in snap/, a file gets its name once it is complete and
 * durable.
 */
export class SimSnapshots implements SnapshotFiles {
  readonly #files = new Map<string, SnapshotFile>();
  readonly #leftovers = new Set<string>();
  /** Limit of readable blocks of the next opened snapshot. */
  failsAfter = Number.POSITIVE_INFINITY;

  /** Determined without the code under test. */
  get newest(): SnapshotFile | undefined {
    let newest: SnapshotFile | undefined;
    for (const file of this.#files.values()) {
      if (newest === undefined || file.index > newest.index) newest = file;
      else if (file.index === newest.index && file.term > newest.term) newest = file;
    }
    return newest;
  }

  add(file: SnapshotFile): void {
    this.#files.set(snapshotName(file), file);
  }

  /** Leaves an unfinished file, as of a process that died. */
  leave(file: LogPosition): void {
    this.#leftovers.add(snapshotName(file).replace(/\.snap$/, SNAPSHOT_TEMPORARY_SUFFIX));
  }

  /** @returns the index of the oldest one kept */
  purge(keep: number): number {
    const all = orderSnapshots(this.list());
    const kept = keep > 0 ? all.slice(-keep) : all;
    for (const { file } of all.slice(0, all.length - kept.length)) this.#files.delete(file);
    return kept[0]?.index ?? 0;
  }

  list(): readonly string[] {
    return [...this.#leftovers, ...this.#files.keys()];
  }

  remove(file: string): void {
    assert(this.#leftovers.delete(file), "only what is unfinished is removed at a start");
  }

  sync(): void {}

  open(name: string): SnapshotSource {
    const file = this.#files.get(name);
    if (file === undefined) throw new DiskError("open", name, "ENOENT");
    const { term, index, metadata } = file;
    const blocks = file.blocks.values();
    let isOpen = true;
    let left = this.failsAfter;
    this.failsAfter = Number.POSITIVE_INFINITY;
    // As of a real file, a block is valid until the next one is read.
    let block = new Uint8Array(0);
    return {
      ...{ path: name, term, index, metadata },
      next: () => {
        assert(isOpen, "a snapshot is read before it is closed");
        if (left-- <= 0) throw new DiskError("read", name, "EIO");
        block.fill(0xee);
        const { value } = blocks.next();
        if (value === undefined) return undefined;
        block = Uint8Array.from(value);
        return block;
      },
      sync: () => undefined, // Files here are durable from the start.
      close: () => {
        isOpen = false;
      },
    };
  }
}
