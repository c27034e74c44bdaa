import type { Cursor, TreeView } from "../btree/cursor.js";
import { Tree } from "../btree/tree.js";
import { assert } from "../lib/assert.js";
import { Expiry } from "./expiry.js";
import { Node, PERMANENT } from "./node.js";
import { nodeBytes } from "./size.js";

/**
 * The nodes of a store, with the data derived from them: expiry queue and total size.
 *
 * Invariants:
 *   1. The tree's invariants hold.
 *   2. Every node below the root is in a directory.
 *   3. `bytes` is the sum of all nodes' sizes.
 *   4. `expiringNodes` is the number of nodes with a deadline.
 */
export class KeySpace {
  #tree: Tree<Node>;
  #expiry: Expiry;
  #bytes = 0;
  /** Of nodes; pages are counted by the tree. */
  #outBytes = 0;

  constructor(tree = new Tree<Node>()) {
    this.#tree = tree;
    this.#expiry = new Expiry((path) => tree.get(path));
    const all = tree.cursor("");
    for (let node = all.next(); node !== undefined; node = all.next()) {
      this.#bytes += nodeBytes(node);
      this.#expiry.add(node);
    }
  }

  /** Takes over the nodes of another key space, which must not be used afterwards. */
  become(other: KeySpace): void {
    assert(other !== this, "a key space does not take over itself");
    this.#outBytes += this.#bytes + this.#tree.copiedBytes - other.#tree.copiedBytes;
    this.#bytes = other.#bytes;
    this.#tree = other.#tree;
    this.#expiry = other.#expiry;
  }

  /** Nodes, directories and name spaces included. */
  get size(): number {
    return this.#tree.size;
  }

  /** Heap bytes of the nodes in the tree, see size.ts. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Heap bytes of all nodes and pages that ever left the tree; only grows. A view keeps alive those
   * that left since it was taken.
   */
  get outBytes(): number {
    return this.#outBytes + this.#tree.copiedBytes;
  }

  /** Nodes with a deadline. */
  get expiringNodes(): number {
    return this.#expiry.size;
  }

  get(path: string): Node | undefined {
    return this.#tree.get(path);
  }

  /** O(1). For listings and snapshots that span several turns. */
  view(): TreeView<Node> {
    return this.#tree.view();
  }

  /** Valid until the next write. @param from starts at the first node at or after this path */
  cursor(from: string): Cursor<Node> {
    return this.#tree.cursor(from);
  }

  /** The node with the soonest deadline, if it is at or before `timeMs` (Unix milliseconds). */
  due(timeMs: number): Node | undefined {
    return this.#expiry.due(timeMs);
  }

  /** @param old the node currently at that path */
  put(node: Node, old: Node | undefined): void {
    const replaced = this.#tree.set(node);
    assert(replaced === old, "the replaced node is the caller's old node");
    this.#bytes += nodeBytes(node);
    // After the tree has changed: the expiry queue reads it to tell stale entries from live ones.
    if (old !== undefined) this.#leave(old);
    this.#expiry.add(node);
  }

  /** Does not remove nodes below it. @param node the very object in the tree */
  remove(node: Node): void {
    const removed = this.#tree.delete(node.path);
    assert(removed === node, "the removed node is the caller's");
    this.#leave(node);
  }

  /** The nodes below a directory in ascending order, each parent before its children. */
  below(directory: string): Node[] {
    const prefix = `${directory}/`;
    const nodes: Node[] = [];
    const cursor = this.#tree.cursor(prefix);
    for (let node = cursor.next(); node?.path.startsWith(prefix) === true; node = cursor.next()) {
      nodes.push(node);
    }
    return nodes;
  }

  /** Whether a directory has no children, not even hidden ones. */
  isEmptyDirectory(path: string): boolean {
    const first = this.#tree.cursor(`${path}/`).peek();
    return first === undefined || !first.path.startsWith(`${path}/`);
  }

  /**
   * Creates the missing directories above `path`.
   *
   * @param index of the change that creates them
   * @returns the file that blocks the path; then nothing was created
   */
  makeParents(path: string, index: number): Node | undefined {
    const missing: string[] = [];
    for (let end = path.lastIndexOf("/"); end > 0; end = path.lastIndexOf("/", end - 1)) {
      const parentPath = path.slice(0, end);
      const parent = this.#tree.get(parentPath);
      if (parent === undefined) {
        missing.push(parentPath);
        continue;
      }
      if (!parent.isDirectory) return parent;
      break;
    }
    for (let i = missing.length - 1; i >= 0; i--) {
      this.put(new Node(missing[i] as string, "", true, index, index, PERMANENT), undefined);
    }
    return undefined;
  }

  /** @throws AssertionError naming the invariant that does not hold */
  checkInvariants(): void {
    this.#tree.checkInvariants();
    let expiring = 0;
    let bytes = 0;
    const all = this.#tree.cursor("");
    for (let node = all.next(); node !== undefined; node = all.next()) {
      if (node.expirationMs !== PERMANENT) expiring++;
      bytes += nodeBytes(node);
      const slash = node.path.lastIndexOf("/");
      if (slash > 0) {
        const parent = this.#tree.get(node.path.slice(0, slash));
        assert(parent?.isDirectory === true, "2: every node is in a directory");
      }
    }
    assert(bytes === this.#bytes, "3: bytes is the sum over the nodes");
    assert(expiring === this.#expiry.size, "4: the expiry queue counts the nodes with a deadline");
  }

  /** A node has left the tree. */
  #leave(node: Node): void {
    this.#expiry.remove(node);
    const bytes = nodeBytes(node);
    this.#bytes -= bytes;
    this.#outBytes += bytes;
  }
}
