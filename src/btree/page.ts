import { isBelowAt, sharedFrom } from "./path-order.js";

/** What the tree stores, ordered by path. The tree never changes a node. */
export interface Keyed {
  readonly path: string;
}

/**
 * A leaf holds nodes, a branch the pages below it. Only the tree changes a page, and only while no
 * view holds it.
 */
export type Page<N extends Keyed> = Leaf<N> | Branch<N>;

export interface Leaf<N extends Keyed> {
  readonly isLeaf: true;
  /** The tree's epoch when the page was created. A page of an older epoch may be part of a view. */
  readonly epoch: number;
  readonly nodes: N[];
}

export interface Branch<N extends Keyed> {
  readonly isLeaf: false;
  readonly epoch: number;
  /**
   * For i > 0, keys[i] is a lower bound of the paths in children[i] and greater than all in
   * children[i - 1]; keys[0] is never compared.
   */
  readonly keys: string[];
  readonly children: Page<N>[];
}

/**
 * Maximum of children per branch and nodes per leaf. Measured: writes are slower with 32 and 128.
 */
export const PAGE_ITEMS_MAX = 64;

/** The objects of a page and of its arrays. */
const PAGE_BYTES = 160;
/** A pointer, with the half as much that a growing array adds. */
const ITEM_BYTES = 12;

export function findNode<N extends Keyed>(root: Page<N>, path: string): N | undefined {
  let page = root;
  while (!page.isLeaf) page = page.children[childIndex(page, path)] as Page<N>;
  const node = page.nodes[lowerBound(page.nodes, path)];
  return node !== undefined && node.path === path ? node : undefined;
}

/**
 * First index whose path is not less than `path`. All paths between two bounds share the bounds'
 * common prefix, so each comparison starts after the bytes that `path` shares with both.
 */
export function lowerBound(nodes: readonly Keyed[], path: string): number {
  let low = 0;
  let high = nodes.length;
  let sharedLow = 0;
  let sharedHigh = 0;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const other = (nodes[middle] as Keyed).path;
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

/**
 * Index of the child whose range includes `path`: the last one whose key is not greater, or the
 * first.
 */
export function childIndex(branch: Branch<Keyed>, path: string): number {
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

export function itemsOf(page: Page<Keyed>): number {
  return page.isLeaf ? page.nodes.length : page.children.length;
}

/** Heap bytes of a page without its nodes; an array has room for some more items. */
export function pageBytes(page: Page<Keyed>): number {
  return page.isLeaf
    ? PAGE_BYTES + ITEM_BYTES * page.nodes.length
    : PAGE_BYTES + 2 * ITEM_BYTES * page.children.length;
}

/**
 * The lowest path of a leaf, "" if it is empty; the first key of a branch, which may be less than
 * all of its paths.
 */
export function lowestKey(page: Page<Keyed>): string {
  if (!page.isLeaf) return page.keys[0] as string;
  return page.nodes[0]?.path ?? "";
}
