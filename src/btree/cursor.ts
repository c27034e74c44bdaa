import {
  type Branch,
  childIndex,
  findNode,
  type Keyed,
  type Leaf,
  lowerBound,
  type Page,
} from "./page.js";

/**
 * Iterates over the nodes in ascending order. On a view it stays valid; on the tree only until a
 * write.
 */
export class Cursor<N extends Keyed> {
  readonly #root: Page<N>;
  readonly #branches: Branch<N>[] = [];
  readonly #indexes: number[] = [];
  #leaf: Leaf<N> | undefined;
  #at = 0;

  constructor(root: Page<N>, from: string) {
    this.#root = root;
    this.seek(from);
  }

  /** Moves to the first node at or after this path. */
  seek(from: string): void {
    this.#branches.length = 0;
    this.#indexes.length = 0;
    let page = this.#root;
    while (!page.isLeaf) {
      const i = childIndex(page, from);
      this.#branches.push(page);
      this.#indexes.push(i);
      page = page.children[i] as Page<N>;
    }
    this.#leaf = page;
    this.#at = lowerBound(page.nodes, from);
  }

  /** The current node, without moving on; undefined at the end. */
  peek(): N | undefined {
    while (this.#leaf !== undefined && this.#at >= this.#leaf.nodes.length) this.#nextLeaf();
    return this.#leaf?.nodes[this.#at];
  }

  next(): N | undefined {
    const node = this.peek();
    this.#at++;
    return node;
  }

  #nextLeaf(): void {
    this.#leaf = undefined;
    this.#at = 0;
    for (let depth = this.#branches.length - 1; depth >= 0; depth--) {
      const branch = this.#branches[depth] as Branch<N>;
      const i = (this.#indexes[depth] as number) + 1;
      if (i >= branch.children.length) continue;
      this.#indexes[depth] = i;
      let page = branch.children[i] as Page<N>;
      for (let below = depth + 1; !page.isLeaf; below++) {
        this.#branches[below] = page;
        this.#indexes[below] = 0;
        page = page.children[0] as Page<N>;
      }
      this.#leaf = page;
      return;
    }
  }
}

/** An immutable snapshot of the tree. */
export class TreeView<N extends Keyed> {
  readonly #root: Page<N>;
  readonly size: number;

  constructor(root: Page<N>, size: number) {
    this.#root = root;
    this.size = size;
  }

  get(path: string): N | undefined {
    return findNode(this.#root, path);
  }

  /** @param from starts at the first node at or after this path */
  cursor(from: string): Cursor<N> {
    return new Cursor(this.#root, from);
  }
}
