import type { Cursor } from "../btree/cursor.js";
import { afterSubtree } from "../btree/path-order.js";
import type { Node } from "../store/node.js";
import type { ByteWriter } from "./byte-writer.js";
import { closeNode, openNode } from "./keys-render.js";

/** Nodes looked at in one slice: hidden ones take time and write nothing. */
const NODES_PER_SLICE_MAX = 4096;

/** A directory whose `{` is written and whose `}` is not. */
interface OpenDirectory {
  readonly node: Node;
  /** "/1/a/": what everything in it begins with. */
  readonly prefix: string;
  hasNodes: boolean;
}

/**
 * Writes the answer to a GET of a directory in slices, from a frozen view, so that a listing of any
 * size holds up nobody. Hidden nodes (a name that begins with "_") are left out with all below
 * them.
 */
export class Listing {
  readonly #cursor: Cursor<Node>;
  readonly #isRecursive: boolean;
  readonly #clusterMs: number;
  readonly #open: OpenDirectory[];
  #isStarted = false;

  /** @param cursor of the view `directory` was found in; anywhere */
  constructor(directory: Node, cursor: Cursor<Node>, isRecursive: boolean, clusterMs: number) {
    this.#cursor = cursor;
    this.#isRecursive = isRecursive;
    this.#clusterMs = clusterMs;
    const prefix = `${directory.path}/`;
    this.#open = [{ node: directory, prefix, hasNodes: false }];
    cursor.seek(prefix);
  }

  /**
   * Writes on until the listing is complete, the writer holds `bytesMax`, or enough nodes were seen
   * for one turn: a slice may be short, and empty where many hidden nodes follow each other.
   *
   * @returns whether it is complete
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
