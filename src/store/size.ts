import { type Node, PERMANENT } from "./node.js";

/**
 * Estimates the V8 heap bytes of a store from its contents alone, so that equal stores have equal
 * sizes on all members. The constants are for 64-bit V8 without pointer compression, rounded up:
 * the estimate may exceed the real size but is never much below it (test/store/heap.test.ts
 * compares it with full heaps of several shapes).
 */

/** The object (80 bytes), plus boxed numbers beyond 2^31 or a share of a tree page (56). */
const NODE_BYTES = 136;
/** A node's entry in the expiry queue, with a share of the stale ones. */
const DEADLINE_BYTES = 160;
/** The object, its boxed time, and its slots in the history. */
export const EVENT_BYTES = 112;

const STRING_HEAD_BYTES = 16;
/** V8 packs objects up to half of a page into shared pages; longer ones get pages of their own. */
const PAGE_BYTES = 256 * 1024;
const PAGE_HEAD_BYTES = 8192;
const PAGE_OBJECT_BYTES_MAX = 128 * 1024;
const SYSTEM_PAGE_BYTES = 4096;
/** Strings from this size on waste a significant part of a shared page's end. */
const WASTING_BYTES = 4096;

/** A file or directory in the tree, including its strings. */
export function nodeBytes(node: Node): number {
  const bytes = NODE_BYTES + stringBytes(node.path.length) + stringBytes(node.value.length);
  return node.expirationMs === PERMANENT ? bytes : bytes + DEADLINE_BYTES;
}

/** Upper bound for a node to be created, with a deadline. */
export function newNodeBytes(pathLength: number, valueLength: number): number {
  return NODE_BYTES + DEADLINE_BYTES + stringBytes(pathLength) + stringBytes(valueLength);
}

/** Parents of paths up to this length are too few to count. */
const SHORT_PATH_BYTES = 256;

/** Upper bound for the missing directories above a new node. */
export function newParentsBytes(path: string): number {
  if (path.length <= SHORT_PATH_BYTES) return 0;
  return (path.split("/").length - 1) * newNodeBytes(path.length, 0);
}

/** A latin1 string. */
function stringBytes(length: number): number {
  if (length === 0) return 0; // All empty strings share one object.
  const bytes = (STRING_HEAD_BYTES + length + 7) & ~7;
  if (bytes < WASTING_BYTES) return bytes;
  if (bytes > PAGE_OBJECT_BYTES_MAX) {
    return Math.ceil((bytes + PAGE_HEAD_BYTES) / SYSTEM_PAGE_BYTES) * SYSTEM_PAGE_BYTES;
  }
  return Math.ceil(PAGE_BYTES / Math.floor((PAGE_BYTES - PAGE_HEAD_BYTES) / bytes));
}
