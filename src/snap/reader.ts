import {
  closeSync,
  fdatasyncSync,
  fstatSync,
  openSync,
  readdirSync,
  readSync,
  unlinkSync,
} from "node:fs";
import { join } from "node:path";
import { assert } from "../lib/assert.js";
import { RingdError } from "../lib/errors.js";
import { crc32c } from "../storage/crc32c.js";
import { syncDirectory } from "../storage/disk.js";
import { CorruptSnapshotError, DiskError } from "../storage/errors.js";
import {
  BLOCK_DATA,
  BLOCK_END,
  BLOCK_HEADER_BYTES,
  BLOCK_METADATA,
  type BlockHeader,
  decodeBlockHeader,
  decodeSnapshotHeader,
  endMatches,
  SNAPSHOT_HEADER_BYTES,
  type SnapshotId,
  snapshotName,
} from "./format.js";
import { listSnapshots, TEMPORARY_SUFFIX } from "./writer.js";

/**
 * Reads a snapshot block by block; only one block is in memory. Blocks the thread.
 *
 * Each block is checked before it is handed out, but that the file is whole is known only when
 * `next` has returned undefined. Nothing built from the blocks counts before that.
 */
export class SnapshotReader implements SnapshotId {
  readonly path: string;
  readonly term: number;
  readonly index: number;
  /** As given to the writer. */
  readonly metadata: Uint8Array;
  readonly fileBytes: number;
  readonly #descriptor: number;
  /**
   * Blocks are read into this, one after the other: snapshots are large, and their garbage would
   * stay.
   */
  #buffer = new Uint8Array(SNAPSHOT_HEADER_BYTES);
  #atBytes = 0;
  #crc: number;
  #blockCount = 0;
  #dataBytes = 0;
  #isOpen = true;

  /**
   * @param name the header must say: that of the file, unless it has a temporary one
   * @throws CorruptSnapshotError, ForeignDataDirError, DiskError
   */
  constructor(dir: string, file: string, name = file) {
    this.path = join(dir, file);
    this.#descriptor = this.#try("open", () => openSync(this.path, "r"));
    try {
      this.fileBytes = this.#try("stat", () => fstatSync(this.#descriptor).size);
      const header = decodeSnapshotHeader(this.#read(SNAPSHOT_HEADER_BYTES), this.path);
      if (snapshotName(header) !== name) {
        throw new CorruptSnapshotError(this.path, 16, "the file's name and header differ");
      }
      this.term = header.term;
      this.index = header.index;
      this.#crc = header.crc;
      const { kind, payload } = this.#block();
      if (kind !== BLOCK_METADATA) {
        throw new CorruptSnapshotError(this.path, SNAPSHOT_HEADER_BYTES, "metadata come first");
      }
      this.metadata = payload.slice();
    } catch (error) {
      closeSync(this.#descriptor);
      throw error;
    }
  }

  /**
   * @returns the next block, good until the next call, or undefined once the whole file has been
   *   found sound
   * @throws CorruptSnapshotError, DiskError
   */
  next(): Uint8Array | undefined {
    assert(this.#isOpen, "a snapshot is read before it is closed");
    const atBytes = this.#atBytes;
    const { kind, payload } = this.#block();
    if (kind === BLOCK_DATA) {
      this.#blockCount++;
      this.#dataBytes += payload.length;
      return payload;
    }
    if (kind !== BLOCK_END || !endMatches(payload, this.#blockCount, this.#dataBytes)) {
      throw new CorruptSnapshotError(this.path, atBytes, "it does not end as its blocks say");
    }
    if (this.#atBytes !== this.fileBytes) {
      throw new CorruptSnapshotError(this.path, this.#atBytes, "there are bytes after its end");
    }
    return undefined;
  }

  /** @throws DiskError */
  sync(): void {
    this.#try("datasync", () => fdatasyncSync(this.#descriptor));
  }

  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    closeSync(this.#descriptor);
  }

  #block(): { kind: BlockHeader["kind"]; payload: Uint8Array } {
    const atBytes = this.#atBytes;
    const header = decodeBlockHeader(this.#read(BLOCK_HEADER_BYTES), this.path, atBytes);
    if (header.length > this.fileBytes - this.#atBytes) {
      throw new CorruptSnapshotError(this.path, atBytes, "the file is truncated");
    }
    const payload = this.#read(header.length);
    if (crc32c(payload, this.#crc) !== header.crc) {
      throw new CorruptSnapshotError(this.path, atBytes, "the block's checksum differs");
    }
    this.#crc = header.crc;
    return { kind: header.kind, payload };
  }

  /** @returns `count` bytes, or as many as there are; good until the next call */
  #read(count: number): Uint8Array {
    if (count > this.#buffer.length) this.#buffer = new Uint8Array(count);
    const bytes = this.#buffer;
    let have = 0;
    while (have < count) {
      const at = this.#atBytes + have;
      const got = this.#try("read", () =>
        readSync(this.#descriptor, bytes, have, count - have, at),
      );
      if (got === 0) break;
      have += got;
    }
    this.#atBytes += have;
    return bytes.subarray(0, have);
  }

  #try<T>(call: string, action: () => T): T {
    try {
      return action();
    } catch (error) {
      const errno = (error as NodeJS.ErrnoException).code ?? "EUNKNOWN";
      throw new DiskError(call, this.path, errno, error);
    }
  }
}

/**
 * The snapshot to start from: the newest one. Removes the leftovers of unfinished ones.
 *
 * A damaged newest snapshot is rejected rather than skipped: it was whole and durable before it
 * got its name, so the disk has lost data, and someone should know before the member votes again.
 * To start from the one before it, move the file away; the log then has to reach back to that one,
 * which recovery checks (LogGapError).
 *
 * @returns undefined if there is none
 * @throws CorruptSnapshotError, ForeignDataDirError, DiskError
 */
export function openNewestSnapshot(dir: string): SnapshotReader | undefined {
  let reader: SnapshotReader | undefined;
  try {
    const newest = listSnapshots(dir).at(-1);
    if (newest !== undefined) reader = new SnapshotReader(dir, newest.file);
    reader?.sync(); // One that was copied here may not be durable yet.
    const leftovers = readdirSync(dir).filter((name) => name.endsWith(TEMPORARY_SUFFIX));
    for (const name of leftovers) unlinkSync(join(dir, name));
    touch(dir);
    // A name given just before the process ended may not be durable yet, and the log may rely on
    // it.
    syncDirectory(dir);
    return reader;
  } catch (error) {
    reader?.close();
    throw asRingdError("clean up", dir, error);
  }
}

/**
 * Changes the directory: after a sync of it that failed, the next one might do nothing (see
 * wal/plan.ts).
 */
function touch(dir: string): void {
  const path = join(dir, `touched${TEMPORARY_SUFFIX}`);
  try {
    closeSync(openSync(path, "w", 0o600));
    unlinkSync(path);
  } catch (error) {
    const failure = asRingdError("create", path, error);
    // A full disk is no reason not to start.
    if (!(failure instanceof DiskError) || !failure.isForWant) throw failure;
  }
}

/** @returns what is a mistake of ours as it is */
function asRingdError(call: string, path: string, error: unknown): unknown {
  const { code } = error as NodeJS.ErrnoException;
  if (error instanceof RingdError || code === undefined) return error;
  return new DiskError(call, path, code, error);
}
