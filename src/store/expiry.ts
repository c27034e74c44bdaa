import { type Node, PERMANENT } from "./node.js";

/** Stale entries the heap may hold beside as many live ones. */
const STALE_MAX = 1024;

/**
 * The nodes that will expire, soonest first. Ties are broken by createdIndex and path, which survive a
 * snapshot: all members expire in the same order.
 *
 * A node that is replaced or removed stays in the heap until it comes up or the heap is swept, so that
 * a refresh costs one push. A sweep runs when more than half of the entries are stale: amortized O(1).
 */
export class Expiry {
  readonly #isCurrent: (node: Node) => boolean;
  #heap: Node[] = [];
  #live = 0;

  /** @param isCurrent whether this very node object is still in the tree */
  constructor(isCurrent: (node: Node) => boolean) {
    this.#isCurrent = isCurrent;
  }

  /** Nodes with a deadline. */
  get size(): number {
    return this.#live;
  }

  /** A node was put into the tree. */
  add(node: Node): void {
    if (node.expirationMs === PERMANENT) return;
    this.#live++;
    this.#heap.push(node);
    this.#up(this.#heap.length - 1);
  }

  /** A node was taken out of the tree; call it after that. */
  remove(node: Node): void {
    if (node.expirationMs === PERMANENT) return;
    this.#live--;
    if (this.#heap.length <= 2 * this.#live + STALE_MAX) return;
    this.#heap = this.#heap.filter(this.#isCurrent);
    for (let i = (this.#heap.length >>> 1) - 1; i >= 0; i--) this.#down(i);
  }

  /** The node with the soonest deadline, if that is not later than `timeMs`. */
  due(timeMs: number): Node | undefined {
    for (;;) {
      const first = this.#heap[0];
      if (first === undefined || first.expirationMs > timeMs) return undefined;
      if (this.#isCurrent(first)) return first;
      this.#pop();
    }
  }

  #pop(): void {
    const last = this.#heap.pop();
    if (last === undefined || this.#heap.length === 0) return;
    this.#heap[0] = last;
    this.#down(0);
  }

  #up(from: number): void {
    const heap = this.#heap;
    const node = heap[from] as Node;
    let i = from;
    while (i > 0) {
      const parent = (i - 1) >>> 1;
      if (!isBefore(node, heap[parent] as Node)) break;
      heap[i] = heap[parent] as Node;
      i = parent;
    }
    heap[i] = node;
  }

  #down(from: number): void {
    const heap = this.#heap;
    const node = heap[from] as Node;
    let i = from;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= heap.length) break;
      const right = child + 1;
      if (right < heap.length && isBefore(heap[right] as Node, heap[child] as Node)) child = right;
      if (!isBefore(heap[child] as Node, node)) break;
      heap[i] = heap[child] as Node;
      i = child;
    }
    heap[i] = node;
  }
}

function isBefore(a: Node, b: Node): boolean {
  if (a.expirationMs !== b.expirationMs) return a.expirationMs < b.expirationMs;
  if (a.createdIndex !== b.createdIndex) return a.createdIndex < b.createdIndex;
  return a.path < b.path;
}
