import { assert } from "../lib/assert.js";
import { Cursor, TreeView } from "./cursor.js";
import {
  type Branch,
  childIndex,
  itemsOf,
  type Keyed,
  type Leaf,
  lowerBound,
  lowestKey,
  PAGE_ITEMS_MAX,
  type Page,
  pageBytes,
} from "./page.js";
import { comparePaths } from "./path-order.js";

/**
 * A copy-on-write B+tree of nodes by path. Taking a view is O(1); after that, a writer copies each
 * page the first time it changes it.
 *
 * A page belongs to the epoch it was created in, and taking a view starts a new epoch. So a page of
 * this epoch is in no view and may be changed in place; an older page is copied first, with every
 * page above it.
 *
 * Two caches save frequent paths the descent, most of which is waiting for memory: `#lastLeaf` with
 * `#lastAt` is where the last lookup ended (a write usually follows a read of the same path);
 * `#leaves` with `#ats` is indexed by a hash of the path. Entries are hints and are not updated on
 * writes: one is used only if the node at its position has the path in question. Invariants 5 and 6
 * make that check sufficient, as no hint yields a node of a page that has left the tree.
 *
 * Invariants:
 *   1. Paths are strictly ascending by comparePaths over all leaves, left to right.
 *   2. All leaves are at the same depth, and only the root may be an empty page.
 *   3. keys[i] of a branch bounds children[i] as described at Branch.
 *   4. size is the number of nodes.
 *   5. #lastLeaf is in the tree if it is of this epoch, so `set` may write to it.
 *   6. Each of #leaves is NO_LEAF, or of this epoch and either in the tree or empty.
 *   7. #missLeaf is NO_LEAF or, if it is of this epoch, in the tree, and #missPath is absent and
 *      belongs before its node #missAt.
 */
export class Tree<N extends Keyed> {
  #epoch = 0;
  #root: Page<N> = { isLeaf: true, epoch: 0, nodes: [] };
  #size = 0;
  #copiedBytes = 0;
  #lastLeaf: Leaf<N> = NO_LEAF;
  /** Index into `#lastLeaf.nodes`. */
  #lastAt = 0;
  /** Where the last path that was not found belongs: a create follows. NO_LEAF after each write. */
  #missLeaf: Leaf<N> = NO_LEAF;
  #missAt = 0;
  #missPath = "";
  /** By slotOf(path). Only pages of this epoch: `view` clears it. */
  readonly #leaves: Leaf<N>[] = new Array(SLOTS).fill(NO_LEAF);
  /** Indexes into the nodes of `#leaves`. */
  readonly #ats = new Uint8Array(SLOTS);

  get size(): number {
    return this.#size;
  }

  /**
   * Heap bytes of all pages that writes ever copied, as a view might hold them; only grows. Beside
   * replaced nodes, a view keeps alive those copied since it was taken.
   */
  get copiedBytes(): number {
    return this.#copiedBytes;
  }

  get(path: string): N | undefined {
    const slot = slotOf(path);
    const leaf = this.#leaves[slot] as Leaf<N>;
    const near = leaf.nodes[this.#ats[slot] as number];
    if (near !== undefined && near.path === path) {
      this.#lastLeaf = leaf;
      this.#lastAt = this.#ats[slot] as number;
      return near;
    }
    let page = this.#root;
    while (!page.isLeaf) page = page.children[childIndex(page, path)] as Page<N>;
    const at = lowerBound(page.nodes, path);
    const node = page.nodes[at];
    if (node === undefined || node.path !== path) {
      this.#missLeaf = page;
      this.#missAt = at;
      this.#missPath = path;
      return undefined;
    }
    this.#lastLeaf = page;
    this.#lastAt = at;
    if (page.epoch === this.#epoch) {
      this.#leaves[slot] = page;
      this.#ats[slot] = at;
    }
    return node;
  }

  /** O(1). The view keeps the current nodes alive while it is referenced. */
  view(): TreeView<N> {
    this.#epoch++;
    this.#leaves.fill(NO_LEAF); // Invariant 6: no page is of the new epoch.
    return new TreeView(this.#root, this.#size);
  }

  /** A cursor on the live tree, valid until the next write. */
  cursor(from: string): Cursor<N> {
    return new Cursor(this.#root, from);
  }

  /** Inserts the node, or replaces the one at its path. @returns the replaced node */
  set(node: N): N | undefined {
    const last = this.#lastLeaf;
    const found = last.nodes[this.#lastAt];
    // In place: by invariant 5 the page is in the tree, and a page of this epoch is in no view.
    if (last.epoch === this.#epoch && found?.path === node.path) {
      last.nodes[this.#lastAt] = node;
      return found;
    }
    if (this.#insertAtMiss(node)) return undefined;
    this.#missLeaf = NO_LEAF;
    this.#root = this.#own(this.#root);
    const { old, split } = this.#setIn(this.#root, node);
    if (split !== undefined) {
      const left = this.#root;
      const low = lowestKey(left);
      this.#root = {
        isLeaf: false,
        epoch: this.#epoch,
        keys: [low, split.key],
        children: [left, split.page],
      };
    }
    if (old === undefined) this.#size++;
    return old;
  }

  /** Without a second descent. @returns false if the path has to be looked for */
  #insertAtMiss(node: N): boolean {
    const leaf = this.#missLeaf;
    if (this.#missPath !== node.path || leaf.epoch !== this.#epoch) return false;
    if (leaf.nodes.length >= PAGE_ITEMS_MAX) return false;
    // Nothing was written since: the path is as absent, and belongs to the same place.
    leaf.nodes.splice(this.#missAt, 0, node);
    this.#missLeaf = NO_LEAF;
    this.#size++;
    return true;
  }

  /** @returns the deleted node */
  delete(path: string): N | undefined {
    if (this.get(path) === undefined) return undefined;
    this.#missLeaf = NO_LEAF;
    // Invariant 5: its page may leave the tree. Invariant 6 holds, as a page that leaves is empty.
    this.#lastLeaf = NO_LEAF;
    this.#root = this.#own(this.#root);
    const old = this.#deleteIn(this.#root, path);
    while (!this.#root.isLeaf && this.#root.children.length === 1) {
      this.#root = this.#root.children[0] as Page<N>;
    }
    if (!this.#root.isLeaf && this.#root.children.length === 0) {
      this.#root = { isLeaf: true, epoch: this.#epoch, nodes: [] };
    }
    this.#size--;
    assert(this.#size >= 0, "the size does not become negative");
    return old;
  }

  /** Builds a tree from nodes in ascending order, in one pass and with full pages. */
  static load<N extends Keyed>(nodes: Iterable<N>): Tree<N> {
    const tree = new Tree<N>();
    let pages: Page<N>[] = [];
    let items: N[] = [];
    let last: N | undefined;
    for (const node of nodes) {
      assert(
        last === undefined || comparePaths(last.path, node.path) < 0,
        "nodes are in ascending order",
      );
      last = node;
      if (items.length === PAGE_ITEMS_MAX) {
        pages.push({ isLeaf: true, epoch: 0, nodes: items });
        items = [];
      }
      items.push(node);
      tree.#size++;
    }
    pages.push({ isLeaf: true, epoch: 0, nodes: items });
    while (pages.length > 1) {
      const above: Page<N>[] = [];
      for (let i = 0; i < pages.length; i += PAGE_ITEMS_MAX) {
        const children = pages.slice(i, i + PAGE_ITEMS_MAX);
        above.push({ isLeaf: false, epoch: 0, keys: children.map(lowestKey), children });
      }
      pages = above;
    }
    assert(pages.length === 1, "one root page remains");
    tree.#root = pages[0] as Page<N>;
    return tree;
  }

  /** @throws AssertionError naming the invariant that does not hold */
  checkInvariants(): void {
    let count = 0;
    let last: string | undefined;
    const depths = new Set<number>();
    const leaves = new Set<Leaf<N>>();
    const walk = (page: Page<N>, depth: number, isRoot: boolean): void => {
      if (page.isLeaf) {
        depths.add(depth);
        leaves.add(page);
        assert(isRoot || page.nodes.length > 0, "2: only the root may be empty");
        for (const { path } of page.nodes) {
          assert(last === undefined || comparePaths(last, path) < 0, "1: paths ascend");
          last = path;
          count++;
        }
        return;
      }
      assert(page.children.length > 0, "2: only the root may be empty");
      for (const [i, child] of page.children.entries()) {
        const key = page.keys[i] as string;
        assert(i === 0 || last === undefined || comparePaths(last, key) < 0, "3: keys bound");
        assert(i === 0 || comparePaths(key, lowestKey(child)) <= 0, "3: keys bound");
        walk(child, depth + 1, false);
      }
    };
    walk(this.#root, 0, true);
    assert(depths.size === 1, "2: all leaves are at the same depth");
    assert(count === this.#size, "4: size counts the nodes");
    const lastLeaf = this.#lastLeaf;
    assert(
      lastLeaf.epoch !== this.#epoch || leaves.has(lastLeaf),
      "5: the last leaf is in the tree",
    );
    for (const leaf of this.#leaves) {
      if (leaf === NO_LEAF) continue;
      assert(leaf.epoch === this.#epoch, "6: a cached leaf is of this epoch");
      assert(
        leaf.nodes.length === 0 || leaves.has(leaf),
        "6: a cached leaf is in the tree or empty",
      );
    }
  }

  /** Returns the page if no view can hold it, else a writable copy. */
  #own<P extends Page<N>>(page: P): P {
    if (page.epoch === this.#epoch) return page;
    this.#copiedBytes += pageBytes(page);
    if (page.isLeaf) return { isLeaf: true, epoch: this.#epoch, nodes: page.nodes.slice() } as P;
    const { keys, children } = page as Branch<N>;
    return {
      isLeaf: false,
      epoch: this.#epoch,
      keys: keys.slice(),
      children: children.slice(),
    } as unknown as P;
  }

  #setIn(page: Page<N>, node: N): { old: N | undefined; split: Split<N> | undefined } {
    if (page.isLeaf) return this.#setInLeaf(page, node);
    const i = childIndex(page, node.path);
    const child = this.#own(page.children[i] as Page<N>);
    page.children[i] = child;
    const { old, split } = this.#setIn(child, node);
    if (split === undefined) return { old, split };
    page.keys.splice(i + 1, 0, split.key);
    page.children.splice(i + 1, 0, split.page);
    if (page.children.length <= PAGE_ITEMS_MAX) return { old, split: undefined };
    const at = splitAt(i + 1, page.children.length);
    const right: Branch<N> = {
      isLeaf: false,
      epoch: this.#epoch,
      keys: page.keys.splice(at),
      children: page.children.splice(at),
    };
    return { old, split: { key: right.keys[0] as string, page: right } };
  }

  #setInLeaf(leaf: Leaf<N>, node: N): { old: N | undefined; split: Split<N> | undefined } {
    const { nodes } = leaf;
    const i = lowerBound(nodes, node.path);
    const found = nodes[i];
    if (found !== undefined && found.path === node.path) {
      nodes[i] = node;
      return { old: found, split: undefined };
    }
    nodes.splice(i, 0, node);
    if (nodes.length <= PAGE_ITEMS_MAX) return { old: undefined, split: undefined };
    const right: Leaf<N> = {
      isLeaf: true,
      epoch: this.#epoch,
      nodes: nodes.splice(splitAt(i, nodes.length)),
    };
    return { old: undefined, split: { key: (right.nodes[0] as N).path, page: right } };
  }

  #deleteIn(page: Page<N>, path: string): N {
    if (page.isLeaf) {
      const i = lowerBound(page.nodes, path);
      const [old] = page.nodes.splice(i, 1);
      assert(old !== undefined && old.path === path, "the node to delete is in its leaf");
      return old;
    }
    const i = childIndex(page, path);
    const child = this.#own(page.children[i] as Page<N>);
    page.children[i] = child;
    const old = this.#deleteIn(child, path);
    if (itemsOf(child) === 0) {
      page.keys.splice(i, 1);
      page.children.splice(i, 1);
    } else {
      this.#mergeSmall(page, i);
    }
    return old;
  }

  /**
   * Merges a small page with its right or left neighbour if both fit into half a page. Not into a
   * full page, or alternating deletes and inserts would merge and split the same pages each time.
   */
  #mergeSmall(parent: Branch<N>, i: number): void {
    const child = parent.children[i] as Page<N>;
    if (itemsOf(child) > PAGE_ITEMS_MAX / 4) return;
    const left = i + 1 < parent.children.length ? i : i - 1;
    if (left < 0) return;
    const a = parent.children[left] as Page<N>;
    const b = parent.children[left + 1] as Page<N>;
    if (itemsOf(a) + itemsOf(b) > PAGE_ITEMS_MAX / 2) return;
    const joined = this.#own(a);
    if (joined.isLeaf && b.isLeaf) {
      joined.nodes.push(...b.nodes);
      // Invariant 6: `b` leaves the tree, and `#leaves` may still point to it.
      if (b.epoch === this.#epoch) b.nodes.length = 0;
    }
    if (!joined.isLeaf && !b.isLeaf) {
      joined.keys.push(...b.keys);
      // The first key of a branch is never compared and may be inexact; the parent's key for it is
      // exact.
      joined.keys[joined.keys.length - b.keys.length] = parent.keys[left + 1] as string;
      joined.children.push(...b.children);
    }
    parent.children[left] = joined;
    parent.keys.splice(left + 1, 1);
    parent.children.splice(left + 1, 1);
  }
}

/** Placeholder of empty cache slots: has no nodes, so no lookup matches. */
const NO_LEAF: Leaf<never> = { isLeaf: true, epoch: -1, nodes: [] };
/** Slots of `#leaves`; a power of two. */
const SLOTS = 4096;
/** Bytes at the end of a path that slotOf hashes. */
const SLOT_BYTES = 4;

assert(PAGE_ITEMS_MAX < 256, "an index into a page fits into a byte of #ats");
assert((SLOTS & (SLOTS - 1)) === 0, "the number of slots is a power of two");

/** The right half of a page that was split, and its lowest key. */
interface Split<N extends Keyed> {
  readonly key: string;
  readonly page: Page<N>;
}

/**
 * A cheap hash rather than an even one: paths that share a slot evict each other and are found by
 * descent.
 */
function slotOf(path: string): number {
  let hash = path.length;
  for (let i = Math.max(path.length - SLOT_BYTES, 0); i < path.length; i++) {
    hash = Math.imul(hash, 31) + path.charCodeAt(i);
  }
  return (hash ^ (hash >>> 12)) & (SLOTS - 1);
}

/**
 * Where to split a page. After an insert at the end nearly all items stay left, so that ascending
 * inserts, such as in-order keys, leave full pages.
 */
function splitAt(insertedAt: number, items: number): number {
  return insertedAt === items - 1 ? items - 1 : items >>> 1;
}
