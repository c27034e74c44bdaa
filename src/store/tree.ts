import { assert } from "../lib/assert.js";
import type { Node } from "./node.js";

/** Children of a branch and nodes of a leaf, at most. Measured: 32 and 128 are both slower to write. */
const PAGE_ITEMS_MAX = 64;
const SLASH = 0x2f;
/** Places of nodes that are remembered; a power of two. */
const PLACES = 4096;
/** Bytes at the end of a path that decide where its place is remembered. */
const PLACE_BYTES = 4;

/**
 * Bytewise order in which "/" comes before every other byte: a directory is followed at once by
 * everything below it, and the children of each level are in bytewise order of their names.
 */
export function comparePaths(a: string, b: string): number {
  const shorter = Math.min(a.length, b.length);
  for (let i = 0; i < shorter; i++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    if (x === y) continue;
    if (x === SLASH) return -1;
    if (y === SLASH) return 1;
    return x - y;
  }
  return a.length - b.length;
}

/** The first possible path behind everything below `directory`. */
export function afterSubtree(directory: string): string {
  return `${directory}\0`; // "/" sorts below every byte, even this one.
}

interface Leaf {
  readonly isLeaf: true;
  /** The tree's epoch when the page was made: an older page may be part of a view. */
  readonly epoch: number;
  readonly nodes: Node[];
}

interface Branch {
  readonly isLeaf: false;
  readonly epoch: number;
  /** keys[i] is at most every path in children[i] and above every path in children[i - 1]. */
  readonly keys: string[];
  readonly children: Page[];
}

type Page = Leaf | Branch;

const NO_LEAF: Leaf = { isLeaf: true, epoch: -1, nodes: [] };

/** A page that overflowed into a second one, whose lowest key is `key`. */
interface Split {
  readonly key: string;
  readonly page: Page;
}

/**
 * The key space: a B+tree from path to Node, copied on write, so that a frozen view costs nothing to
 * take and a writer pays one page copy for each page it touches for the first time after that.
 *
 * Invariants:
 *   1. Paths are strictly ascending by comparePaths over all leaves, left to right.
 *   2. All leaves are at the same depth, and only the root may be an empty page.
 *   3. keys[i] of a branch bounds children[i] as said at Branch.
 *   4. size is the number of nodes.
 */
export class Tree {
  #epoch = 0;
  #root: Page = { isLeaf: true, epoch: 0, nodes: [] };
  #size = 0;
  /** Where `get` found a node last: a write of the same path needs no second descent. */
  #lastLeaf: Leaf = NO_LEAF;
  #lastAt = 0;
  /**
   * Where nodes were found in pages of this epoch, by placeOf(path). A place is right if the node there has
   * the path: keys in frequent use need no descent, most of which is waiting for memory.
   */
  readonly #leaves: Leaf[] = new Array(PLACES).fill(NO_LEAF);
  readonly #ats = new Uint8Array(PLACES);

  get size(): number {
    return this.#size;
  }

  get(path: string): Node | undefined {
    const place = placeOf(path);
    const leaf = this.#leaves[place] as Leaf;
    const near = leaf.nodes[this.#ats[place] as number];
    if (near !== undefined && near.path === path) {
      this.#lastLeaf = leaf;
      this.#lastAt = this.#ats[place] as number;
      return near;
    }
    let page = this.#root;
    while (!page.isLeaf) page = page.children[childIndex(page, path)] as Page;
    const at = lowerBound(page.nodes, path);
    const node = page.nodes[at];
    if (node === undefined || node.path !== path) return undefined;
    this.#lastLeaf = page;
    this.#lastAt = at;
    if (page.epoch === this.#epoch) {
      this.#leaves[place] = page;
      this.#ats[place] = at;
    }
    return node;
  }

  /** O(1). The view keeps today's nodes alive as long as somebody holds it. */
  view(): TreeView {
    this.#epoch++;
    this.#leaves.fill(NO_LEAF); // From now on they are copied before they change.
    return new TreeView(this.#root, this.#size);
  }

  /** A cursor on the tree as it is, good until the next write. */
  cursor(from: string): Cursor {
    return new Cursor(this.#root, from);
  }

  /** Adds the node or replaces the one at its path, which is returned. */
  set(node: Node): Node | undefined {
    const last = this.#lastLeaf;
    const found = last.nodes[this.#lastAt];
    // A page of this epoch is no view's. Deletions, which may take a page out of the tree, forget it.
    if (last.epoch === this.#epoch && found?.path === node.path) {
      last.nodes[this.#lastAt] = node;
      return found;
    }
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

  /** @returns the node that was there */
  delete(path: string): Node | undefined {
    if (this.get(path) === undefined) return undefined;
    this.#lastLeaf = NO_LEAF;
    this.#root = this.#own(this.#root);
    const old = this.#deleteIn(this.#root, path);
    while (!this.#root.isLeaf && this.#root.children.length === 1) {
      this.#root = this.#root.children[0] as Page;
    }
    if (!this.#root.isLeaf && this.#root.children.length === 0) {
      this.#root = { isLeaf: true, epoch: this.#epoch, nodes: [] };
    }
    this.#size--;
    return old;
  }

  /** Fills an empty tree from nodes in ascending order: one pass, full pages. */
  static load(nodes: Iterable<Node>): Tree {
    const tree = new Tree();
    let pages: Page[] = [];
    let items: Node[] = [];
    let last: Node | undefined;
    for (const node of nodes) {
      assert(last === undefined || comparePaths(last.path, node.path) < 0, "nodes ascend");
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
      const above: Page[] = [];
      for (let i = 0; i < pages.length; i += PAGE_ITEMS_MAX) {
        const children = pages.slice(i, i + PAGE_ITEMS_MAX);
        above.push({ isLeaf: false, epoch: 0, keys: children.map(lowestKey), children });
      }
      pages = above;
    }
    tree.#root = pages[0] as Page;
    return tree;
  }

  /** @throws AssertionError naming the invariant that does not hold */
  checkInvariants(): void {
    let count = 0;
    let last: string | undefined;
    const depths = new Set<number>();
    const walk = (page: Page, depth: number, isRoot: boolean): void => {
      if (page.isLeaf) {
        depths.add(depth);
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
  }

  /** The page itself if no view can hold it, else a copy to write to. */
  #own<P extends Page>(page: P): P {
    if (page.epoch === this.#epoch) return page;
    if (page.isLeaf) return { isLeaf: true, epoch: this.#epoch, nodes: page.nodes.slice() } as P;
    const { keys, children } = page as Branch;
    return {
      isLeaf: false,
      epoch: this.#epoch,
      keys: keys.slice(),
      children: children.slice(),
    } as unknown as P;
  }

  #setIn(page: Page, node: Node): { old: Node | undefined; split: Split | undefined } {
    if (page.isLeaf) return this.#setInLeaf(page, node);
    const i = childIndex(page, node.path);
    const child = this.#own(page.children[i] as Page);
    page.children[i] = child;
    const { old, split } = this.#setIn(child, node);
    if (split === undefined) return { old, split };
    page.keys.splice(i + 1, 0, split.key);
    page.children.splice(i + 1, 0, split.page);
    if (page.children.length <= PAGE_ITEMS_MAX) return { old, split: undefined };
    const at = splitAt(i + 1, page.children.length);
    const right: Branch = {
      isLeaf: false,
      epoch: this.#epoch,
      keys: page.keys.splice(at),
      children: page.children.splice(at),
    };
    return { old, split: { key: right.keys[0] as string, page: right } };
  }

  #setInLeaf(leaf: Leaf, node: Node): { old: Node | undefined; split: Split | undefined } {
    const { nodes } = leaf;
    const i = lowerBound(nodes, node.path);
    const found = nodes[i];
    if (found !== undefined && found.path === node.path) {
      nodes[i] = node;
      return { old: found, split: undefined };
    }
    nodes.splice(i, 0, node);
    if (nodes.length <= PAGE_ITEMS_MAX) return { old: undefined, split: undefined };
    const right: Leaf = {
      isLeaf: true,
      epoch: this.#epoch,
      nodes: nodes.splice(splitAt(i, nodes.length)),
    };
    return { old: undefined, split: { key: (right.nodes[0] as Node).path, page: right } };
  }

  #deleteIn(page: Page, path: string): Node {
    if (page.isLeaf) {
      const i = lowerBound(page.nodes, path);
      const [old] = page.nodes.splice(i, 1);
      assert(old !== undefined && old.path === path, "the node to delete is there");
      return old;
    }
    const i = childIndex(page, path);
    const child = this.#own(page.children[i] as Page);
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

  /** Joins a page that became small with its right or left neighbour when both fit half a page. */
  #mergeSmall(parent: Branch, i: number): void {
    const child = parent.children[i] as Page;
    if (itemsOf(child) > PAGE_ITEMS_MAX / 4) return;
    const left = i + 1 < parent.children.length ? i : i - 1;
    if (left < 0) return;
    const a = parent.children[left] as Page;
    const b = parent.children[left + 1] as Page;
    if (itemsOf(a) + itemsOf(b) > PAGE_ITEMS_MAX / 2) return;
    const joined = this.#own(a);
    if (joined.isLeaf && b.isLeaf) {
      joined.nodes.push(...b.nodes);
      // It leaves the tree: no place in it is right any more.
      if (b.epoch === this.#epoch) b.nodes.length = 0;
    }
    if (!joined.isLeaf && !b.isLeaf) {
      joined.keys.push(...b.keys);
      // The first key of a branch may be lower than its first child needs; the parent's is exact.
      joined.keys[joined.keys.length - b.keys.length] = parent.keys[left + 1] as string;
      joined.children.push(...b.children);
    }
    parent.children[left] = joined;
    parent.keys.splice(left + 1, 1);
    parent.children.splice(left + 1, 1);
  }
}

/** A frozen tree. */
export class TreeView {
  readonly #root: Page;
  readonly size: number;

  constructor(root: Page, size: number) {
    this.#root = root;
    this.size = size;
  }

  get(path: string): Node | undefined {
    return getFrom(this.#root, path);
  }

  /** @param from the first node is the first at or after this path */
  cursor(from: string): Cursor {
    return new Cursor(this.#root, from);
  }
}

/** Walks nodes in ascending order; may be left and taken up again at any time if it is on a view. */
export class Cursor {
  readonly #root: Page;
  readonly #branches: Branch[] = [];
  readonly #indexes: number[] = [];
  #leaf: Leaf | undefined;
  #at = 0;

  constructor(root: Page, from: string) {
    this.#root = root;
    this.seek(from);
  }

  /** Goes to the first node at or after this path. */
  seek(from: string): void {
    this.#branches.length = 0;
    this.#indexes.length = 0;
    let page = this.#root;
    while (!page.isLeaf) {
      const i = childIndex(page, from);
      this.#branches.push(page);
      this.#indexes.push(i);
      page = page.children[i] as Page;
    }
    this.#leaf = page;
    this.#at = lowerBound(page.nodes, from);
  }

  /** The node here, without going on. */
  peek(): Node | undefined {
    while (this.#leaf !== undefined && this.#at >= this.#leaf.nodes.length) this.#nextLeaf();
    return this.#leaf?.nodes[this.#at];
  }

  next(): Node | undefined {
    const node = this.peek();
    this.#at++;
    return node;
  }

  #nextLeaf(): void {
    this.#leaf = undefined;
    this.#at = 0;
    for (let depth = this.#branches.length - 1; depth >= 0; depth--) {
      const branch = this.#branches[depth] as Branch;
      const i = (this.#indexes[depth] as number) + 1;
      if (i >= branch.children.length) continue;
      this.#indexes[depth] = i;
      let page = branch.children[i] as Page;
      for (let below = depth + 1; !page.isLeaf; below++) {
        this.#branches[below] = page;
        this.#indexes[below] = 0;
        page = page.children[0] as Page;
      }
      this.#leaf = page;
      return;
    }
  }
}

/** Cheap, not fair: paths that collide are looked up as if nothing were remembered. */
function placeOf(path: string): number {
  let hash = path.length;
  for (let i = Math.max(path.length - PLACE_BYTES, 0); i < path.length; i++) {
    hash = Math.imul(hash, 31) + path.charCodeAt(i);
  }
  return (hash ^ (hash >>> 12)) & (PLACES - 1);
}

function getFrom(root: Page, path: string): Node | undefined {
  let page = root;
  while (!page.isLeaf) page = page.children[childIndex(page, path)] as Page;
  const node = page.nodes[lowerBound(page.nodes, path)];
  return node !== undefined && node.path === path ? node : undefined;
}

/**
 * First index whose path is not below `path`. What lies between two paths begins as both of them do, so
 * a comparison starts behind what `path` is known to share with the bounds.
 */
function lowerBound(nodes: readonly Node[], path: string): number {
  let low = 0;
  let high = nodes.length;
  let sharedLow = 0;
  let sharedHigh = 0;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const other = (nodes[middle] as Node).path;
    const shared = sharedFrom(other, path, Math.min(sharedLow, sharedHigh));
    if (isBelowAt(other, path, shared)) {
      low = middle + 1;
      sharedLow = shared;
    } else {
      high = middle;
      sharedHigh = shared;
    }
  }
  return low;
}

/** How many bytes `a` and `b` have in common at their beginning: at least `from`, as is known. */
function sharedFrom(a: string, b: string, from: number): number {
  const end = Math.min(a.length, b.length);
  let i = from;
  while (i < end && a.charCodeAt(i) === b.charCodeAt(i)) i++;
  return i;
}

/** comparePaths(a, b) < 0 for paths that share exactly their first `shared` bytes. */
function isBelowAt(a: string, b: string, shared: number): boolean {
  if (shared === a.length) return shared < b.length;
  if (shared === b.length) return false;
  const x = a.charCodeAt(shared);
  const y = b.charCodeAt(shared);
  return x === SLASH || (y !== SLASH && x < y);
}

/** The child that holds `path` or would: the last one whose key is not above it, or the first. */
function childIndex(branch: Branch, path: string): number {
  let low = 1;
  let high = branch.keys.length;
  let sharedLow = 0;
  let sharedHigh = 0;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const key = branch.keys[middle] as string;
    const shared = sharedFrom(path, key, Math.min(sharedLow, sharedHigh));
    if (isBelowAt(path, key, shared)) {
      high = middle;
      sharedHigh = shared;
    } else {
      low = middle + 1;
      sharedLow = shared;
    }
  }
  return low - 1;
}

/** Ascending inserts, as of in-order keys, leave full pages behind instead of half empty ones. */
function splitAt(insertedAt: number, items: number): number {
  return insertedAt === items - 1 ? items - 1 : items >>> 1;
}

function itemsOf(page: Page): number {
  return page.isLeaf ? page.nodes.length : page.children.length;
}

function lowestKey(page: Page): string {
  if (!page.isLeaf) return page.keys[0] as string;
  return page.nodes[0]?.path ?? "";
}
