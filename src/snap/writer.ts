import { createHash, type Hash } from "node:crypto";
import {
  closeSync,
  fdatasyncSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  unlinkSync,
  writevSync,
} from "node:fs";
import { join } from "node:path";
import { assert } from "../lib/assert.js";
import { syncDirectory } from "../storage/disk.js";
import { DiskError } from "../storage/errors.js";
import {
  BLOCK_DATA,
  BLOCK_END,
  BLOCK_HASH,
  BLOCK_METADATA,
  type BlockKind,
  encodeBlockHeader,
  encodeEnd,
  encodeSnapshotHeader,
  type NamedSnapshot,
  orderSnapshots,
  SNAPSHOT_FORMAT,
  SNAPSHOT_TEMPORARY_SUFFIX,
  type SnapshotId,
  snapshotName,
} from "./format.js";

/**
 * Flushed each time so much has been written: one flush at the end would block the disk, and the
 * log's fdatasync with it, for its whole duration.
 */
const FLUSH_BYTES = 4 * 2 ** 20;

/**
 * Writes one snapshot file. Synchronous: for the pool's threads.
 *
 *   new SnapshotWriter -> writeBlock ... -> finish | abort
 *
 * The file gets its name once all of it is durable. An error leaves at most a temporary file.
 */
export class SnapshotWriter {
  readonly #dir: string;
  readonly #name: string;
  readonly #temporary: string;
  /** Duration of each fdatasync, seconds. */
  readonly flushSeconds: number[] = [];
  readonly #sha256: Hash | undefined;
  #descriptor: number | undefined;
  /** The temporary file exists. */
  #isUnfinished = true;
  #crc: number;
  #blockCount = 0;
  #dataBytes = 0;
  #fileBytes = 0;
  #flushedBytes = 0;

  /**
   * @param dir must exist
   * @param options `metadata`: opaque, comes back from the reader; up to BLOCK_BYTES_MAX bytes
   * @param version of the file
   * @param saved of a saved snapshot: another name, and a hash at the end
   * @throws DiskError
   */
  constructor(
    dir: string,
    options: SnapshotId & { readonly metadata: Uint8Array },
    version = SNAPSHOT_FORMAT,
    saved: { readonly name?: string; readonly hasHash?: boolean } = {},
  ) {
    this.#dir = dir;
    this.#name = saved.name ?? snapshotName(options);
    if (saved.hasHash === true) this.#sha256 = createHash("sha256");
    this.#temporary = join(dir, this.#name.replace(/\.snap$/, SNAPSHOT_TEMPORARY_SUFFIX));
    const header = encodeSnapshotHeader(options, version);
    this.#crc = header.crc;
    this.#descriptor = this.#try("create", () => openSync(this.#temporary, "w", 0o600));
    try {
      this.#write([header.bytes]);
      this.#writeBlock(BLOCK_METADATA, options.metadata);
    } catch (error) {
      this.abort(); // The caller has no writer to abort.
      throw error;
    }
  }

  /** Size of the file so far. */
  get fileBytes(): number {
    return this.#fileBytes;
  }

  /** @param payload up to BLOCK_BYTES_MAX bytes; not kept. @throws DiskError */
  writeBlock(payload: Uint8Array): void {
    this.#writeBlock(BLOCK_DATA, payload);
    this.#blockCount++;
    this.#dataBytes += payload.length;
  }

  /** Makes the snapshot durable and gives it its name. @returns its path. @throws DiskError */
  finish(): string {
    this.#writeBlock(BLOCK_END, encodeEnd(this.#blockCount, this.#dataBytes));
    if (this.#sha256 !== undefined) this.#writeBlock(BLOCK_HASH, this.#sha256.copy().digest());
    this.#flush();
    this.#close();
    const path = join(this.#dir, this.#name);
    this.#try("rename", () => renameSync(this.#temporary, path));
    this.#isUnfinished = false;
    this.#try("syncDirectory", () => syncDirectory(this.#dir));
    return path;
  }

  /** Removes the unfinished file, after an error too. A no-op once finished. */
  abort(): void {
    if (!this.#isUnfinished) return;
    this.#isUnfinished = false;
    this.#close();
    this.#try("unlink", () => unlinkSync(this.#temporary));
  }

  #writeBlock(kind: BlockKind, payload: Uint8Array): void {
    const header = encodeBlockHeader(kind, payload, this.#crc);
    this.#write([header.bytes, payload]);
    this.#crc = header.crc;
    if (this.#fileBytes - this.#flushedBytes < FLUSH_BYTES) return;
    this.#flush();
    this.#flushedBytes = this.#fileBytes;
  }

  #flush(): void {
    const startMs = performance.now();
    this.#try("datasync", () => fdatasyncSync(this.#openDescriptor()));
    this.flushSeconds.push((performance.now() - startMs) / 1000);
  }

  #write(chunks: readonly Uint8Array[]): void {
    let rest = chunks.filter((chunk) => chunk.length > 0);
    for (const chunk of rest) this.#sha256?.update(chunk);
    while (rest.length > 0) {
      let wrote = this.#try("write", () => writevSync(this.#openDescriptor(), rest));
      this.#fileBytes += wrote;
      const left: Uint8Array[] = [];
      for (const chunk of rest) {
        const taken = Math.min(wrote, chunk.length);
        wrote -= taken;
        if (taken < chunk.length) left.push(chunk.subarray(taken));
      }
      rest = left;
    }
  }

  #openDescriptor(): number {
    assert(this.#descriptor !== undefined, "a snapshot is written before it is finished");
    return this.#descriptor;
  }

  #close(): void {
    if (this.#descriptor === undefined) return;
    const descriptor = this.#descriptor;
    this.#descriptor = undefined;
    closeSync(descriptor);
  }

  #try<T>(call: string, action: () => T): T {
    try {
      return action();
    } catch (error) {
      const errno = (error as NodeJS.ErrnoException).code;
      if (errno === undefined) throw error;
      throw new DiskError(call, this.#temporary, errno, error);
    }
  }
}

/** The snapshots of a directory, oldest first. */
export function listSnapshots(dir: string): NamedSnapshot[] {
  return orderSnapshots(readdirSync(dir));
}

/**
 * Removes all but the newest snapshots.
 *
 * @param maxSnapshots number to keep; 0 keeps all
 * @param onRefusal called with the error of each file that cannot be removed, which does no harm
 * @returns the oldest one kept, to which the log must reach back; undefined if there is none
 */
export function purge(
  dir: string,
  maxSnapshots: number,
  onRefusal: (error: unknown) => void,
): SnapshotId | undefined {
  const found = listSnapshots(dir);
  const surplus = maxSnapshots === 0 ? 0 : Math.max(0, found.length - maxSnapshots);
  for (const { file } of found.slice(0, surplus)) {
    try {
      // Two threads may purge at once: after a snapshot of our own, and after one from another
      // member.
      rmSync(join(dir, file), { force: true });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === undefined) throw error;
      onRefusal(error);
    }
  }
  if (surplus > 0) syncDirectory(dir);
  const oldest = found[surplus];
  return oldest === undefined ? undefined : { term: oldest.term, index: oldest.index };
}
