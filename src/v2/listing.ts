import type { Cursor } from "../btree/cursor.js";
import { afterSubtree } from "../btree/path-order.js";
import type { Node } from "../store/node.js";
import type { ByteWriter } from "./byte-writer.js";
import { closeNode, openNode } from "./keys-render.js";

/** Nodes visited per slice, as hidden ones take time but write nothing. */
const NODES_PER_SLICE_MAX = 4096;

/** A directory whose `{` has been written, but not its `}`. */
interface OpenDirectory {
  readonly node: Node;
  /** "/1/a/", the prefix of every path in it. */
  readonly prefix: string;
  hasNodes: boolean;
}

/**
 * Writes the response to a GET of a directory in slices, from a frozen view, so that even a huge
 * listing blocks nobody. Skips hidden nodes (names beginning with "_") with their subtrees.
 */
export class Listing {
  readonly #cursor: Cursor<Node>;
  readonly #isRecursive: boolean;
  readonly #clusterMs: number;
  readonly #open: OpenDirectory[];
  #isStarted = false;

  /** @param cursor on the view that contains `directory`, at any position */
  constructor(directory: Node, cursor: Cursor<Node>, isRecursive: boolean, clusterMs: number) {
    this.#cursor = cursor;
    this.#isRecursive = isRecursive;
    this.#clusterMs = clusterMs;
    const prefix = `${directory.path}/`;
    this.#open = [{ node: directory, prefix, hasNodes: false }];
    cursor.seek(prefix);
  }

  /**
   * Continues until the listing is complete, the writer holds `bytesMax`, or NODES_PER_SLICE_MAX
   * nodes were visited: a slice may be short, or empty after many hidden nodes.
   *
   * @returns whether the listing is complete
   */
  next(writer: ByteWriter, bytesMax: number): boolean {
    if (!this.#isStarted) {
      this.#isStarted = true;
      const { node } = this.#open[0] as OpenDirectory;
      writer.latin1('{"action":"get","node":');
      openNode(writer, node, this.#clusterMs, false);
    }
    for (let seen = 0; seen < NODES_PER_SLICE_MAX && writer.length < bytesMax; seen++) {
      const node = this.#cursor.peek();
      while (node === undefined || !this.#isInInnermost(node)) {
        const done = this.#open.pop() as OpenDirectory;
        closeNode(writer, done.node, done.hasNodes);
        if (this.#open.length > 0) continue;
        writer.latin1("}\n");
        return true;
      }
      this.#take(writer, node);
    }
    return false;
  }

  #isInInnermost(node: Node): boolean {
    const innermost = this.#open[this.#open.length - 1] as OpenDirectory;
    return node.path.startsWith(innermost.prefix);
  }

  #take(writer: ByteWriter, node: Node): void {
    const parent = this.#open[this.#open.length - 1] as OpenDirectory;
    if (node.path.charCodeAt(parent.prefix.length) === 0x5f) {
      this.#cursor.seek(afterSubtree(node.path));
      return;
    }
    writer.latin1(parent.hasNodes ? "," : ',"nodes":[');
    openNode(writer, node, this.#clusterMs, true);
    parent.hasNodes = true;
    if (node.isDirectory && this.#isRecursive) {
      this.#cursor.next();
      this.#open.push({ node, prefix: `${node.path}/`, hasNodes: false });
      return;
    }
    closeNode(writer, node, false);
    if (node.isDirectory) this.#cursor.seek(afterSubtree(node.path));
    else this.#cursor.next();
  }
}
