import { assert } from "../lib/assert.js";
import { type Node, PERMANENT } from "./node.js";

/** Stale entries the heap may hold beside as many live ones. */
const STALE_MAX = 1024;
/** And what their paths may take beside 64 bytes for each entry. */
const STALE_BYTES_MAX = 4 * 1024 * 1024;

/** The part of a node that the heap keeps: a stale entry must not keep a value alive. */
class Deadline {
  readonly expirationMs: number;
  readonly createdIndex: number;
  readonly modifiedIndex: number;
  readonly path: string;

  constructor(node: Node) {
    this.expirationMs = node.expirationMs;
    this.createdIndex = node.createdIndex;
    this.modifiedIndex = node.modifiedIndex;
    this.path = node.path;
  }
}

/**
 * The nodes that will expire, soonest first. Ties are broken by createdIndex and path, which
 * survive a snapshot: all members expire in the same order.
 *
 * A node that is replaced or removed stays in the heap until it comes up or the heap is swept, so
 * that a refresh costs one push. A sweep runs when more than half of the entries are stale:
 * amortized O(1).
 */
export class Expiry {
  readonly #nodeAt: (path: string) => Node | undefined;
  #heap: Deadline[] = [];
  #live = 0;
  /** Of the paths of stale entries, since the last sweep. */
  #staleBytes = 0;

  /** @param nodeAt the node that is in the tree now */
  constructor(nodeAt: (path: string) => Node | undefined) {
    this.#nodeAt = nodeAt;
  }

  /** Nodes with a deadline. */
  get size(): number {
    return this.#live;
  }

  /** A node was put into the tree. */
  add(node: Node): void {
    if (node.expirationMs === PERMANENT) return;
    this.#live++;
    this.#heap.push(new Deadline(node));
    this.#up(this.#heap.length - 1);
  }

  /** A node was taken out of the tree; call it after that. */
  remove(node: Node): void {
    if (node.expirationMs === PERMANENT) return;
    this.#live--;
    assert(this.#live >= 0, "no more deadlines leave than came");
    this.#staleBytes += node.path.length;
    const isLong = this.#heap.length > 2 * this.#live + STALE_MAX;
    if (!isLong && this.#staleBytes <= STALE_BYTES_MAX + 64 * this.#heap.length) return;
    this.#staleBytes = 0;
    this.#heap = this.#heap.filter((deadline) => this.#current(deadline) !== undefined);
    assert(this.#heap.length >= this.#live, "a sweep keeps every live deadline");
    for (let i = (this.#heap.length >>> 1) - 1; i >= 0; i--) this.#down(i);
  }

  /** The node with the soonest deadline, if that is not later than `timeMs`. */
  due(timeMs: number): Node | undefined {
    assert(Number.isFinite(timeMs), "a time is a number");
    for (;;) {
      const first = this.#heap[0];
      if (first === undefined || first.expirationMs > timeMs) return undefined;
      const node = this.#current(first);
      if (node !== undefined) return node;
      this.#pop();
    }
  }

  #current({ path, expirationMs, modifiedIndex }: Deadline): Node | undefined {
    const node = this.#nodeAt(path);
    const isSame = node?.expirationMs === expirationMs && node.modifiedIndex === modifiedIndex;
    return isSame ? node : undefined;
  }

  #pop(): void {
    const last = this.#heap.pop();
    if (last === undefined || this.#heap.length === 0) return;
    this.#heap[0] = last;
    this.#down(0);
  }

  #up(from: number): void {
    const heap = this.#heap;
    const node = heap[from] as Deadline;
    let i = from;
    while (i > 0) {
      const parent = (i - 1) >>> 1;
      if (!isBefore(node, heap[parent] as Deadline)) break;
      heap[i] = heap[parent] as Deadline;
      i = parent;
    }
    heap[i] = node;
  }

  #down(from: number): void {
    const heap = this.#heap;
    const node = heap[from] as Deadline;
    let i = from;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= heap.length) break;
      const right = child + 1;
      if (right < heap.length && isBefore(heap[right] as Deadline, heap[child] as Deadline))
        child = right;
      if (!isBefore(heap[child] as Deadline, node)) break;
      heap[i] = heap[child] as Deadline;
      i = child;
    }
    heap[i] = node;
  }
}

function isBefore(a: Deadline, b: Deadline): boolean {
  if (a.expirationMs !== b.expirationMs) return a.expirationMs < b.expirationMs;
  if (a.createdIndex !== b.createdIndex) return a.createdIndex < b.createdIndex;
  return a.path < b.path;
}
