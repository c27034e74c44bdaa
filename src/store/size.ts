import { type Node, PERMANENT } from "./node.js";

/**
 * Bytes of V8's heap that a store takes, computed from its contents: equal stores have equal sizes,
 * whoever keeps them and however they came about. The constants are for 64-bit V8 without pointer
 * compression, rounded up: the size may be above what is really taken, and never much below
 * (test/store/heap.test.ts fills heaps of several shapes to the brim and compares).
 */

/** The object (80 bytes), numbers beyond 2^31 or a share of a tree page (56). */
const NODE_BYTES = 136;
/** In the expiry queue, with the entries that are stale. */
const DEADLINE_BYTES = 160;
/** The object, its time, its places in the history. */
export const EVENT_BYTES = 112;

const STRING_HEAD_BYTES = 16;
/**
 * V8 puts objects up to half of one of its pages side by side; longer ones have pages of their own.
 */
const PAGE_BYTES = 256 * 1024;
const PAGE_HEAD_BYTES = 8192;
const PAGE_OBJECT_BYTES_MAX = 128 * 1024;
const SYSTEM_PAGE_BYTES = 4096;
/** From here on what does not fit at the end of a page counts. */
const WASTING_BYTES = 4096;

/** A file or directory in the tree, its strings included. */
export function nodeBytes(node: Node): number {
  const bytes = NODE_BYTES + stringBytes(node.path.length) + stringBytes(node.value.length);
  return node.expirationMs === PERMANENT ? bytes : bytes + DEADLINE_BYTES;
}

/** A new node, before it is one: at most this much, with a deadline. */
export function newNodeBytes(pathLength: number, valueLength: number): number {
  return NODE_BYTES + DEADLINE_BYTES + stringBytes(pathLength) + stringBytes(valueLength);
}

/** Paths up to this length have few levels, whose directories are small change. */
const SHORT_PATH_BYTES = 256;

/** The directories above a new node, if none of them is there yet: at most this much. */
export function newParentsBytes(path: string): number {
  if (path.length <= SHORT_PATH_BYTES) return 0;
  return (path.split("/").length - 1) * newNodeBytes(path.length, 0);
}

/** A string of one byte per character. */
function stringBytes(length: number): number {
  if (length === 0) return 0; // All empty strings are one.
  const bytes = (STRING_HEAD_BYTES + length + 7) & ~7;
  if (bytes < WASTING_BYTES) return bytes;
  if (bytes > PAGE_OBJECT_BYTES_MAX) {
    return Math.ceil((bytes + PAGE_HEAD_BYTES) / SYSTEM_PAGE_BYTES) * SYSTEM_PAGE_BYTES;
  }
  return Math.ceil(PAGE_BYTES / Math.floor((PAGE_BYTES - PAGE_HEAD_BYTES) / bytes));
}
