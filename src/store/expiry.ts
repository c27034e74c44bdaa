import { assert } from "../lib/assert.js";
import { type Node, PERMANENT } from "./node.js";

/** Stale entries tolerated in the heap, beyond as many as there are live ones. */
const STALE_MAX = 1024;
/** Bytes of stale entries' paths tolerated, beyond 64 bytes for each entry. */
const STALE_BYTES_MAX = 4 * 1024 * 1024;

/**
 * The fields of a node that the heap needs. Not the node itself: a stale entry would keep its value
 * alive.
 */
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
 * A heap of the nodes with a TTL, soonest first. Ties are broken by createdIndex and path, which
 * survive snapshots, so all members expire nodes in the same order.
 *
 * Entries of replaced and removed nodes stay until they reach the top or a sweep, so a refresh
 * costs one push. A sweep runs when more than half of the entries are stale: amortized O(1).
 */
export class Expiry {
  readonly #nodeAt: (path: string) => Node | undefined;
  #heap: Deadline[] = [];
  #live = 0;
  /** Path bytes of entries that became stale since the last sweep. */
  #staleBytes = 0;

  /** @param nodeAt looks up a path in the tree */
  constructor(nodeAt: (path: string) => Node | undefined) {
    this.#nodeAt = nodeAt;
  }

  /** Number of nodes with a deadline. */
  get size(): number {
    return this.#live;
  }

  /** A node was added to the tree. */
  add(node: Node): void {
    if (node.expirationMs === PERMANENT) return;
    this.#live++;
    this.#heap.push(new Deadline(node));
    this.#up(this.#heap.length - 1);
  }

  /** Call after a node has left the tree. */
  remove(node: Node): void {
    if (node.expirationMs === PERMANENT) return;
    this.#live--;
    assert(this.#live >= 0, "the number of live deadlines does not become negative");
    this.#staleBytes += node.path.length;
    const isLong = this.#heap.length > 2 * this.#live + STALE_MAX;
    if (!isLong && this.#staleBytes <= STALE_BYTES_MAX + 64 * this.#heap.length) return;
    this.#staleBytes = 0;
    this.#heap = this.#heap.filter((deadline) => this.#current(deadline) !== undefined);
    assert(this.#heap.length >= this.#live, "a sweep keeps every live deadline");
    for (let i = (this.#heap.length >>> 1) - 1; i >= 0; i--) this.#down(i);
  }

  /** The node with the soonest deadline, if it is at or before `timeMs`. */
  due(timeMs: number): Node | undefined {
    assert(Number.isFinite(timeMs), "the time is finite");
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
