import { closeSync, openSync, readSync } from "node:fs";
import { RingdError } from "../lib/errors.js";

/**
 * The v3 store's file, `member/snap/db`: a bbolt database (bbolt's page.go, bucket.go). Only counts
 * are of interest. Integers are little-endian.
 *
 *   page    u64 id, u16 flags, u16 count, u32 overflow pages; then `count` elements of 16 bytes
 *   meta    pages 0 and 1: u32 magic, u32 version, u32 page size, u32 flags, u64 root page, u64,
 *           u64 free list, u64 pages, u64 transaction, u64 checksum; the newer one counts
 *   branch  element: u32 position, u32 key bytes, u64 page
 *   leaf    element: u32 flags (1: a bucket), u32 position, u32 key bytes, u32 value bytes
 *   bucket  value: u64 root page, u64 sequence; root 0: a page follows, in the value
 *
 * Positions count from the element.
 */
const PAGE_HEAD_BYTES = 16;
const ELEMENT_BYTES = 16;
const META_BYTES = 64;
const META_MAGIC = 0xed0cdaed;
const BRANCH = 1;
const LEAF = 2;
const BUCKET = 1;
const BUCKET_HEAD_BYTES = 16;
/** A corrupt tree must not keep us forever. */
const DEPTH_MAX = 64;
/** A file of gigabytes need not be read for a summary. */
const PAGES_MAX = 20_000;

/** What the v3 API keeps. */
export interface V3Content {
  /** Versions of keys. */
  readonly revisions: number;
  readonly leases: number;
  readonly users: number;
  /** False if there are more. */
  readonly isWhole: boolean;
}

class V3FileError extends RingdError {
  override readonly name = "V3FileError";
  readonly code = "ETCD_V3_FILE_MALFORMED";
}

/** @returns undefined if the file cannot be read */
export function countV3(path: string): V3Content | undefined {
  try {
    const descriptor = openSync(path, "r");
    try {
      return new V3File(descriptor).count();
    } finally {
      closeSync(descriptor);
    }
  } catch (error) {
    const isOfFile = error instanceof V3FileError || error instanceof RangeError;
    if (!isOfFile && (error as NodeJS.ErrnoException).code === undefined) throw error;
    return undefined;
  }
}

class V3File {
  readonly #descriptor: number;
  readonly #pageBytes: number;
  readonly #root: bigint;
  #pagesLeft = PAGES_MAX;

  constructor(descriptor: number) {
    this.#descriptor = descriptor;
    const first = this.#read(0, PAGE_HEAD_BYTES + META_BYTES).subarray(PAGE_HEAD_BYTES);
    if (first.readUInt32LE(0) !== META_MAGIC) throw new V3FileError("this is not a bbolt file");
    this.#pageBytes = first.readUInt32LE(8);
    const second = this.#read(this.#pageBytes + PAGE_HEAD_BYTES, META_BYTES);
    const isSecond =
      second.readUInt32LE(0) === META_MAGIC &&
      second.readBigUInt64LE(48) > first.readBigUInt64LE(48);
    this.#root = (isSecond ? second : first).readBigUInt64LE(16);
  }

  count(): V3Content {
    const counts = new Map<string, number>();
    this.#walk(this.#page(this.#root), 0, (key, flags, value) => {
      if ((flags & BUCKET) === 0) return;
      let count = 0;
      const root = value.readBigUInt64LE(0);
      const page = root === 0n ? value.subarray(BUCKET_HEAD_BYTES) : this.#page(root);
      this.#walk(page, 0, () => {
        count++;
      });
      counts.set(key.toString(), count);
    });
    return {
      revisions: counts.get("key") ?? 0,
      leases: counts.get("lease") ?? 0,
      users: counts.get("authUsers") ?? 0,
      isWhole: this.#pagesLeft > 0,
    };
  }

  #walk(
    page: Buffer,
    depth: number,
    visit: (key: Buffer, flags: number, value: Buffer) => void,
  ): void {
    const kind = page.readUInt16LE(8);
    const count = page.readUInt16LE(10);
    if (depth > DEPTH_MAX || (kind !== BRANCH && kind !== LEAF)) throw new V3FileError("bad page");
    for (let i = 0; i < count; i++) {
      const at = PAGE_HEAD_BYTES + i * ELEMENT_BYTES;
      if (this.#pagesLeft <= 0) return;
      if (kind === BRANCH) {
        this.#walk(this.#page(page.readBigUInt64LE(at + 8)), depth + 1, visit);
        continue;
      }
      const keyAt = at + page.readUInt32LE(at + 4);
      const valueAt = keyAt + page.readUInt32LE(at + 8);
      const key = page.subarray(keyAt, valueAt);
      visit(
        key,
        page.readUInt32LE(at),
        page.subarray(valueAt, valueAt + page.readUInt32LE(at + 12)),
      );
    }
  }

  #page(id: bigint): Buffer {
    this.#pagesLeft--;
    const atBytes = Number(id) * this.#pageBytes;
    const overflow = this.#read(atBytes, PAGE_HEAD_BYTES).readUInt32LE(12);
    return this.#read(atBytes, (1 + overflow) * this.#pageBytes);
  }

  #read(atBytes: number, count: number): Buffer {
    const bytes = Buffer.alloc(count);
    if (readSync(this.#descriptor, bytes, 0, count, atBytes) < count) {
      throw new V3FileError("the file is truncated");
    }
    return bytes;
  }
}
