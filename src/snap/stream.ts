import { createHash } from "node:crypto";
import { assert } from "../lib/assert.js";
import {
  BLOCK_CRC_AT,
  BLOCK_DATA,
  BLOCK_END,
  BLOCK_HASH,
  BLOCK_HEADER_BYTES,
  BLOCK_METADATA,
  type BlockKind,
  END_BYTES,
  encodeBlockHeader,
  encodeEnd,
  encodeSnapshotHeader,
  HASH_BYTES,
  type SnapshotId,
} from "./format.js";

const END_BLOCK_BYTES = BLOCK_HEADER_BYTES + END_BYTES;
const HASH_BLOCK_BYTES = BLOCK_HEADER_BYTES + HASH_BYTES;

/** The content of a snapshot, block by block. */
export interface SnapshotBlocks {
  /** The next block; undefined at the end. */
  next(): Uint8Array | undefined;
}

/** A saved snapshot as bytes in pieces, made as they are taken: the format is in format.ts. */
export class SnapshotStream {
  readonly #blocks: SnapshotBlocks;
  readonly #sha256 = createHash("sha256");
  /** Made and not yet taken. */
  #rest: Uint8Array;
  #crc: number;
  #blockCount = 0;
  #dataBytes = 0;
  #isWhole = false;

  constructor(
    head: SnapshotId & { readonly metadata: Uint8Array; readonly version: number },
    blocks: SnapshotBlocks,
  ) {
    this.#blocks = blocks;
    const header = encodeSnapshotHeader(head, head.version);
    this.#crc = header.crc;
    this.#rest = Buffer.concat([header.bytes, this.#framed(BLOCK_METADATA, head.metadata)]);
    this.#sha256.update(this.#rest);
  }

  /** All of it was taken. */
  get isDone(): boolean {
    return this.#isWhole && this.#rest.length === 0;
  }

  /** @returns up to `bytesMax` bytes, at least one. Not at the end. */
  next(bytesMax: number): Uint8Array {
    assert(bytesMax > 0 && !this.isDone, "a piece has a byte");
    const piece = this.#rest.subarray(0, bytesMax);
    this.#rest = this.#rest.subarray(piece.length);
    if (this.#rest.length === 0 && !this.#isWhole) this.#make();
    return piece;
  }

  #make(): void {
    const block = this.#blocks.next();
    if (block !== undefined) {
      this.#blockCount++;
      this.#dataBytes += block.length;
      this.#rest = this.#framed(BLOCK_DATA, block);
      this.#sha256.update(this.#rest);
      return;
    }
    const end = this.#framed(BLOCK_END, encodeEnd(this.#blockCount, this.#dataBytes));
    this.#sha256.update(end);
    this.#rest = Buffer.concat([end, this.#framed(BLOCK_HASH, this.#sha256.digest())]);
    this.#isWhole = true;
  }

  #framed(kind: BlockKind, payload: Uint8Array): Buffer {
    const { bytes, crc } = encodeBlockHeader(kind, payload, this.#crc);
    this.#crc = crc;
    return Buffer.concat([bytes, payload]);
  }
}

/** Checks such bytes by their hash as they come, in pieces of any size. */
export class SnapshotCheck {
  readonly #sha256 = createHash("sha256");
  /** The last bytes: those of the last two blocks. */
  #tail = Buffer.alloc(0);
  /** So far. */
  bytes = 0;

  push(piece: Uint8Array): void {
    this.bytes += piece.length;
    const both = Buffer.concat([this.#tail, piece]);
    const hashed = Math.max(0, both.length - END_BLOCK_BYTES - HASH_BLOCK_BYTES);
    this.#sha256.update(both.subarray(0, hashed));
    this.#tail = both.subarray(hashed);
  }

  /** @returns the hash that the bytes have and end with; undefined if they were cut or changed */
  finish(): Buffer | undefined {
    if (this.#tail.length < END_BLOCK_BYTES + HASH_BLOCK_BYTES) return undefined;
    const end = this.#tail.subarray(0, END_BLOCK_BYTES);
    const hash = this.#sha256.update(end).digest();
    const { bytes } = encodeBlockHeader(BLOCK_HASH, hash, end.readUInt32LE(BLOCK_CRC_AT));
    const expected = Buffer.concat([bytes, hash]);
    return expected.equals(this.#tail.subarray(END_BLOCK_BYTES)) ? hash : undefined;
  }
}
