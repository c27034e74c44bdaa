import { comparePaths } from "../btree/path-order.js";
import "../lib/latin1.js";
import type { Cursor } from "../btree/cursor.js";
import { Tree } from "../btree/tree.js";
import { assert } from "../lib/assert.js";
import { RingdError } from "../lib/errors.js";
import { ACTION_NAMES, type Action, Event } from "./event.js";
import { Node } from "./node.js";
import { StoreStats } from "./stats.js";
import { Store, type StoreOptions } from "./store.js";

/**
 * A store as a sequence of blocks: first the head, then nodes in tree order, then events, oldest
 * first. A block has items of one kind only.
 *
 *   block   u8 kind, then
 *     head    f64 index, u32 number of nodes, u32 number of events, f64 per counter
 *     nodes   node ...
 *     events  event ...
 *   node    u32 path bytes, u32 value bytes, u8 flags (1 directory), f64 createdIndex,
 *           f64 modifiedIndex, f64 expirationMs, path, value
 *   event   u8 action, u8 flags (1 refresh, 2 has prevNode), f64 timeMs, node, prevNode if any
 */
const BlockKind = { head: 1, nodes: 2, events: 3 } as const;
const NODE_HEAD_BYTES = 33;
const EVENT_HEAD_BYTES = 10;
const DIRECTORY_FLAG = 1;
const REFRESH_FLAG = 1;
const PREV_NODE_FLAG = 2;

/** A block is finished once it reaches this size; a large node may make it longer. */
export const BLOCK_BYTES = 256 * 1024;

export class SnapshotDecodeError extends RingdError {
  override readonly name = "SnapshotDecodeError";
  readonly code = "SNAPSHOT_MALFORMED";

  constructor(why: string) {
    super(`Cannot decode snapshot: ${why}`);
  }
}

/** Encodes the store as of construction, one block at a time, while the store keeps changing. */
export class SnapshotEncoder {
  readonly #index: number;
  readonly #nodes: number;
  readonly #cursor: Cursor<Node>;
  readonly #events: readonly Event[];
  readonly #stats: readonly number[];
  readonly #blockBytes: number;
  #nextEvent = 0;
  #isHeadDone = false;

  /** @param blockBytes size of a block, which takes as long to make */
  constructor(store: Store, blockBytes = BLOCK_BYTES) {
    this.#blockBytes = blockBytes;
    const view = store.view();
    this.#index = store.index;
    this.#nodes = view.size;
    this.#cursor = view.cursor("");
    this.#events = store.events;
    this.#stats = store.stats.toArray();
  }

  /** The next block, in well under a millisecond unless a node is large; undefined at the end. */
  next(): Buffer | undefined {
    const out = new BlockBuffer(this.#blockBytes);
    if (!this.#isHeadDone) {
      this.#isHeadDone = true;
      return this.#head(out);
    }
    if (this.#cursor.peek() !== undefined) {
      out.u8(BlockKind.nodes);
      while (out.length < this.#blockBytes) {
        const node = this.#cursor.next();
        if (node === undefined) break;
        writeNode(out, node);
      }
      return out.done();
    }
    if (this.#nextEvent === this.#events.length) return undefined;
    out.u8(BlockKind.events);
    while (out.length < this.#blockBytes && this.#nextEvent < this.#events.length) {
      writeEvent(out, this.#events[this.#nextEvent++] as Event);
    }
    return out.done();
  }

  #head(out: BlockBuffer): Buffer {
    out.u8(BlockKind.head);
    out.f64(this.#index);
    out.u32(this.#nodes);
    out.u32(this.#events.length);
    for (const count of this.#stats) out.f64(count);
    return out.done();
  }
}

/** Rebuilds a store from its blocks. */
export class SnapshotDecoder {
  readonly #options: StoreOptions;
  readonly #before: Store | undefined;
  #head: { index: number; nodes: number; events: number; stats: StoreStats } | undefined;
  #nodes: Node[] = [];
  #tree: Tree<Node> | undefined;
  readonly #events: Event[] = [];

  /**
   * @param before the current store: nodes that are equal in it, usually most, are shared instead
   *   of copied
   */
  constructor(options: StoreOptions = {}, before?: Store) {
    this.#options = options;
    this.#before = before;
  }

  /** @throws SnapshotDecodeError */
  push(block: Uint8Array): void {
    const input = new BlockReader(block);
    const kind = input.u8();
    if (kind === BlockKind.head) {
      const index = input.f64();
      const nodes = input.u32();
      const events = input.u32();
      const stats: number[] = [];
      while (!input.isAtEnd) stats.push(input.f64());
      this.#head = { index, nodes, events, stats: StoreStats.of(stats) };
    } else if (kind === BlockKind.nodes) {
      while (!input.isAtEnd) {
        const node = readNode(input);
        const last = this.#nodes.at(-1);
        if (last !== undefined && comparePaths(last.path, node.path) >= 0) {
          throw new SnapshotDecodeError("nodes are not in order");
        }
        const old = this.#before?.get(node.path);
        this.#nodes.push(old !== undefined && isEqual(old, node) ? old : node);
      }
    } else if (kind === BlockKind.events) {
      this.#plant();
      while (!input.isAtEnd) {
        const event = this.#share(readEvent(input));
        const before = this.#events.at(-1) ?? event;
        if (before !== event && event.index !== before.index + 1) {
          throw new SnapshotDecodeError(`event ${event.index} follows ${before.index}`);
        }
        this.#events.push(event);
      }
    } else {
      throw new SnapshotDecodeError(`unknown block kind ${kind}`);
    }
  }

  /** @throws SnapshotDecodeError if blocks are missing */
  finish(): Store {
    const head = this.#head;
    if (head === undefined) throw new SnapshotDecodeError("the head is missing");
    const tree = this.#plant();
    if (tree.size !== head.nodes || this.#events.length !== head.events) {
      throw new SnapshotDecodeError("nodes or events are missing");
    }
    const last = this.#events.at(-1);
    if (last !== undefined && last.index !== head.index) {
      throw new SnapshotDecodeError("the last event does not have the store's index");
    }
    return new Store(this.#options, {
      index: head.index,
      tree,
      stats: head.stats,
      events: this.#events,
    });
  }

  /** Builds the tree once, when all nodes have been read. */
  #plant(): Tree<Node> {
    this.#tree ??= Tree.load(this.#nodes);
    this.#nodes = [];
    return this.#tree;
  }

  /**
   * Replaces the event's nodes by equal ones already decoded: in the original store an event shared
   * its node with the tree or with a later event's prevNode, and copies would double the memory.
   */
  #share(event: Event): Event {
    const { action, node, prevNode, timeMs, isRefresh } = event;
    const inTree = this.#tree?.get(node.path);
    const shared = inTree !== undefined && isEqual(inTree, node) ? inTree : node;
    const sharedPrev = prevNode === undefined ? undefined : this.#shareReplaced(prevNode);
    return new Event(action, shared, sharedPrev, timeMs, isRefresh);
  }

  /** The node that an event replaced: shared with the event that set it, never with the tree. */
  #shareReplaced(node: Node): Node {
    const at = node.modifiedIndex - (this.#events[0]?.index ?? 0);
    const set = this.#events[at];
    if (set === undefined || !isEqual(set.node, node)) return node;
    if (set.node !== this.#tree?.get(node.path)) return set.node;
    // An updated directory keeps its index, so the tree's node may equal the one it replaced.
    this.#events[at] = new Event(set.action, node, set.prevNode, set.timeMs, set.isRefresh);
    return node;
  }
}

/** What a block holds, for readers that want no store. Events are not decoded. */
export type StoreBlock =
  | { readonly kind: "head"; readonly index: number; readonly events: number }
  | { readonly kind: "nodes"; readonly nodes: readonly Node[] }
  | { readonly kind: "other" };

/** @throws SnapshotDecodeError */
export function readStoreBlock(block: Uint8Array): StoreBlock {
  const input = new BlockReader(block);
  const kind = input.u8();
  if (kind === BlockKind.head) {
    const index = input.f64();
    input.u32();
    return { kind: "head", index, events: input.u32() };
  }
  if (kind !== BlockKind.nodes) return { kind: "other" };
  const nodes: Node[] = [];
  while (!input.isAtEnd) nodes.push(readNode(input));
  return { kind: "nodes", nodes };
}

function isEqual(a: Node, b: Node): boolean {
  return (
    a.modifiedIndex === b.modifiedIndex &&
    a.path === b.path &&
    a.createdIndex === b.createdIndex &&
    a.isDirectory === b.isDirectory &&
    a.expirationMs === b.expirationMs &&
    a.value === b.value
  );
}

function writeNode(out: BlockBuffer, node: Node): void {
  out.room(NODE_HEAD_BYTES + node.path.length + node.value.length);
  out.u32(node.path.length);
  out.u32(node.value.length);
  out.u8(node.isDirectory ? DIRECTORY_FLAG : 0);
  out.f64(node.createdIndex);
  out.f64(node.modifiedIndex);
  out.f64(node.expirationMs);
  out.latin1(node.path);
  out.latin1(node.value);
}

function readNode(input: BlockReader): Node {
  const pathBytes = input.u32();
  const valueBytes = input.u32();
  const isDirectory = (input.u8() & DIRECTORY_FLAG) !== 0;
  const createdIndex = small(input.f64());
  const modifiedIndex = small(input.f64());
  const expirationMs = small(input.f64());
  const path = input.latin1(pathBytes);
  const value = input.latin1(valueBytes);
  return new Node(path, value, isDirectory, createdIndex, modifiedIndex, expirationMs);
}

/**
 * The same number as a small integer if it fits. V8 boxes a number read as a float, which would
 * cost three heap objects per node.
 */
function small(value: number): number {
  return (value | 0) === value ? value | 0 : value;
}

function writeEvent(out: BlockBuffer, event: Event): void {
  out.room(EVENT_HEAD_BYTES);
  out.u8(event.action);
  out.u8(
    (event.isRefresh ? REFRESH_FLAG : 0) | (event.prevNode === undefined ? 0 : PREV_NODE_FLAG),
  );
  out.f64(event.timeMs);
  writeNode(out, event.node);
  if (event.prevNode !== undefined) writeNode(out, event.prevNode);
}

function readEvent(input: BlockReader): Event {
  const action = input.u8();
  if (action >= ACTION_NAMES.length) throw new SnapshotDecodeError(`unknown action ${action}`);
  const flags = input.u8();
  const timeMs = input.f64();
  const node = readNode(input);
  const prevNode = (flags & PREV_NODE_FLAG) === 0 ? undefined : readNode(input);
  return new Event(action as Action, node, prevNode, timeMs, (flags & REFRESH_FLAG) !== 0);
}

class BlockBuffer {
  #bytes: Buffer;
  length = 0;

  constructor(blockBytes: number) {
    this.#bytes = Buffer.allocUnsafe(blockBytes + 4096);
  }

  room(bytes: number): void {
    if (this.length + bytes <= this.#bytes.length) return;
    const grown = Buffer.allocUnsafe(2 * (this.length + bytes));
    this.#bytes.copy(grown, 0, 0, this.length);
    this.#bytes = grown;
  }

  u8(value: number): void {
    this.length = this.#bytes.writeUInt8(value, this.length);
  }

  u32(value: number): void {
    this.length = this.#bytes.writeUInt32LE(value, this.length);
  }

  f64(value: number): void {
    this.length = this.#bytes.writeDoubleLE(value, this.length);
  }

  latin1(text: string): void {
    this.length += this.#bytes.latin1Write(text, this.length);
  }

  done(): Buffer {
    assert(this.length > 0, "a block is not empty");
    return this.#bytes.subarray(0, this.length);
  }
}

class BlockReader {
  readonly #bytes: Buffer;
  readonly #view: DataView;
  #at = 0;

  constructor(block: Uint8Array) {
    this.#bytes = Buffer.from(block.buffer, block.byteOffset, block.length);
    this.#view = new DataView(block.buffer, block.byteOffset, block.length);
  }

  get isAtEnd(): boolean {
    return this.#at === this.#bytes.length;
  }

  u8(): number {
    return this.#view.getUint8(this.#take(1));
  }

  u32(): number {
    return this.#view.getUint32(this.#take(4), true);
  }

  f64(): number {
    return this.#view.getFloat64(this.#take(8), true);
  }

  latin1(bytes: number): string {
    const at = this.#take(bytes);
    return this.#bytes.latin1Slice(at, at + bytes);
  }

  #take(bytes: number): number {
    const at = this.#at;
    if (at + bytes > this.#bytes.length) throw new SnapshotDecodeError("a block is truncated");
    this.#at = at + bytes;
    return at;
  }
}
