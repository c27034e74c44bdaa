import { createHash, type Hash } from "node:crypto";
import { closeSync, fdatasyncSync, fstatSync, openSync, readSync } from "node:fs";
import { join } from "node:path";
import { assert } from "../lib/assert.js";
import { crc32c } from "../storage/crc32c.js";
import { CorruptSnapshotError, DiskError } from "../storage/errors.js";
import {
  BLOCK_DATA,
  BLOCK_END,
  BLOCK_HASH,
  BLOCK_HEADER_BYTES,
  BLOCK_METADATA,
  type BlockHeader,
  decodeBlockHeader,
  decodeSnapshotHeader,
  endMatches,
  SNAPSHOT_HEADER_BYTES,
  snapshotName,
} from "./format.js";
import type { SnapshotSource } from "./source.js";

/**
 * Reads a snapshot block by block; only one block is in memory. Blocks the thread.
 *
 * Each block is verified before it is returned, but the whole file only once `next` has returned
 * undefined. State built from the blocks is not valid before that.
 */
export class SnapshotReader implements SnapshotSource {
  readonly path: string;
  readonly term: number;
  readonly index: number;
  /** As given to the writer. */
  readonly metadata: Uint8Array;
  readonly fileBytes: number;
  readonly #descriptor: number;
  /** Reused for all blocks: snapshots are large, and their garbage would stay. */
  #buffer = new Uint8Array(SNAPSHOT_HEADER_BYTES);
  #atBytes = 0;
  #crc: number;
  #blockCount = 0;
  #dataBytes = 0;
  #isOpen = true;
  /** Of a saved snapshot. */
  readonly #sha256: Hash | undefined;
  readonly #skipsHash: boolean;
  #hash: Uint8Array | undefined;
  #digest: Uint8Array | undefined;

  /**
   * @param options `name`: expected by the header, the file's unless it has a temporary one;
   *   `isSaved`: a saved snapshot, which has any name and may end in a hash; `skipsHash`: the hash
   *   may differ
   * @throws CorruptSnapshotError, ForeignDataDirError, DiskError
   */
  constructor(
    dir: string,
    file: string,
    {
      name = file,
      isSaved = false,
      skipsHash = false,
    }: { readonly name?: string; readonly isSaved?: boolean; readonly skipsHash?: boolean } = {},
  ) {
    this.#skipsHash = skipsHash;
    if (isSaved) this.#sha256 = createHash("sha256");
    this.path = join(dir, file);
    this.#descriptor = this.#try("open", () => openSync(this.path, "r"));
    try {
      this.fileBytes = this.#try("stat", () => fstatSync(this.#descriptor).size);
      const header = decodeSnapshotHeader(this.#read(SNAPSHOT_HEADER_BYTES), this.path);
      if (!isSaved && snapshotName(header) !== name) {
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
   * @returns the next block, valid until the next call; undefined once the whole file is verified
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
      throw new CorruptSnapshotError(this.path, atBytes, "the counts in its end block differ");
    }
    this.#digest = this.#sha256?.copy().digest();
    if (this.#digest !== undefined && this.#atBytes < this.fileBytes) this.#readHash(this.#digest);
    if (this.#atBytes !== this.fileBytes) {
      throw new CorruptSnapshotError(this.path, this.#atBytes, "there are bytes after its end");
    }
    return undefined;
  }

  /** The SHA-256 in its last block, once `next` has returned undefined; undefined without one. */
  get hash(): Uint8Array | undefined {
    return this.#hash;
  }

  /** SHA-256 of all before that block, or without one of all, at the same time. */
  get digest(): Uint8Array | undefined {
    return this.#digest;
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

  #readHash(expected: Uint8Array): void {
    const atBytes = this.#atBytes;
    const { kind, payload } = this.#block();
    const isSame = this.#skipsHash || Buffer.compare(payload, expected) === 0;
    if (kind !== BLOCK_HASH || !isSame) {
      throw new CorruptSnapshotError(this.path, atBytes, "its SHA-256 differs");
    }
    this.#hash = payload.slice();
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

  /** @returns `count` bytes, or fewer at the end of the file; valid until the next call */
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
    this.#sha256?.update(bytes.subarray(0, have));
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
