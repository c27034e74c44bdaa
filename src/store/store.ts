import type { Cursor, TreeView } from "../btree/cursor.js";
import type { Tree } from "../btree/tree.js";
import { assert, unreachable } from "../lib/assert.js";
import { type Command, CommandOp } from "./command.js";
import { Action, Event, isRemoval } from "./event.js";
import { HISTORY_EVENTS_DEFAULT, History } from "./history.js";
import { KeySpace } from "./key-space.js";
import { CLUSTER_PREFIX, KEYS_PREFIX, Node, PERMANENT } from "./node.js";
import { ErrorCode, Refusal } from "./refusal.js";
import { Stat, StoreStats } from "./stats.js";
import { WatchHub } from "./watch-hub.js";

/** Directories that requests may not change: the name spaces and the root. */
const READ_ONLY: ReadonlySet<string> = new Set(["", "/", CLUSTER_PREFIX, KEYS_PREFIX]);
/** Deadlines before this mean "never" for a new node (v2store/store.go, minExpireTime). */
const EXPIRATION_MS_MIN = 946_684_800_000; // 2000-01-01
/** Digits of an in-order key's name. */
const IN_ORDER_DIGITS = 20;

export interface StoreOptions {
  readonly historyEventsMax?: number;
  /** Bounds the history in addition, when its events are large. */
  readonly historyBytesMax?: number;
}

/** The complete state, to build a store from a snapshot. */
export interface StoreState {
  readonly index: number;
  readonly tree: Tree<Node>;
  readonly stats: StoreStats;
  /** Oldest first, without a gap, the last one at `index`. */
  readonly events: readonly Event[];
}

/**
 * The replicated state of etcd v2: the key space, its index, the event history and the counters.
 * Deterministic: equal commands in equal order produce equal stores; time comes from the commands.
 *
 * Follows etcd 3.4's v2store in rules and quirks (store.go, node.go).
 */
export class Store {
  readonly hub: WatchHub;
  stats: StoreStats;
  #history: History;
  readonly #keys: KeySpace;
  #index: number;

  constructor(options: StoreOptions = {}, state?: StoreState) {
    const { historyEventsMax = HISTORY_EVENTS_DEFAULT, historyBytesMax } = options;
    this.#history = new History(historyEventsMax, historyBytesMax);
    this.#keys = new KeySpace(state?.tree);
    this.#index = state?.index ?? 0;
    this.stats = state?.stats ?? new StoreStats();
    if (state !== undefined) this.#restore(state.events);
    for (const path of [CLUSTER_PREFIX, KEYS_PREFIX]) {
      if (this.#keys.get(path) !== undefined) continue;
      this.#keys.put(new Node(path, "", true, 0, 0, PERMANENT), undefined);
    }
    this.hub = new WatchHub(this.#history);
  }

  /** @param events share equal nodes with the tree and with each other */
  #restore(events: readonly Event[]): void {
    const replaced = new Set(events.map(({ prevNode }) => prevNode));
    for (const event of events) {
      const { node } = event;
      const isElsewhere = replaced.has(node) || this.#keys.get(node.path) === node;
      this.#history.push(event, !isElsewhere);
    }
  }

  /**
   * Takes over the state of another store, restored from a snapshot, which must not be used
   * afterwards. Watches stay open and receive the events in between from the other's history.
   *
   * @returns false if that history is too short, so that watches have missed events
   */
  become(other: Store): boolean {
    assert(other !== this, "a store does not take over itself");
    assert(other.#index >= this.#index, "the state only moves forward");
    const missed = other.events.filter((event) => event.index > this.#index);
    const isComplete =
      missed.length === other.#index - this.#index && !missed.some(removesMoreThanItShows);
    this.stats = other.stats;
    this.#history = other.#history;
    this.#keys.become(other.#keys);
    this.#index = other.#index;
    this.hub.readFrom(this.#history);
    if (!isComplete) return false;
    for (const event of missed) {
      if (!event.isRefresh) this.hub.notify(event);
    }
    return true;
  }

  /** The etcd index: number of changes applied so far. */
  get index(): number {
    return this.#index;
  }

  /** Heap bytes of the nodes and the history, see size.ts. */
  get bytes(): number {
    return this.#keys.bytes + this.#history.bytes;
  }

  /** Heap bytes of the nodes in the tree alone. */
  get treeBytes(): number {
    return this.#keys.bytes;
  }

  /**
   * Heap bytes of all nodes and pages that ever left the tree; only grows. A view keeps alive those
   * that left since it was taken.
   */
  get outBytes(): number {
    return this.#keys.outBytes;
  }

  /** Nodes, directories and name spaces included. */
  get size(): number {
    return this.#keys.size;
  }

  /** Number of nodes with a deadline. */
  get expiringNodes(): number {
    return this.#keys.expiringNodes;
  }

  /** Oldest first. */
  get events(): readonly Event[] {
    return this.#history.toArray();
  }

  /** O(1). For listings and snapshots that span several turns. */
  view(): TreeView<Node> {
    return this.#keys.view();
  }

  /** On the live tree: valid until the next write. */
  cursor(): Cursor<Node> {
    return this.#keys.cursor("");
  }

  /** An internal lookup, not counted as a read. */
  get(path: string): Node | undefined {
    return this.#keys.get(path);
  }

  /** A client's read: counted, and rejected with etcd's error if there is no such node. */
  read(path: string): Node | Refusal {
    const node = this.#keys.get(path);
    if (node !== undefined) {
      this.stats.add(Stat.getsSuccess);
      return node;
    }
    this.stats.add(Stat.getsFail);
    return this.#whyMissing(path);
  }

  /**
   * Applies a committed command. A rejected one changes only counters.
   *
   * @returns the change, the refusal, or undefined for raise and for sync, whose events only
   *   watches receive
   */
  apply(command: Command): Event | Refusal | undefined {
    switch (command.op) {
      case CommandOp.set:
        return this.#set(command);
      case CommandOp.create:
        return this.#create(command, command.path);
      case CommandOp.createInOrder: {
        const name = String(this.#index + 1).padStart(IN_ORDER_DIGITS, "0");
        return this.#create(command, `${command.path}/${name}`);
      }
      case CommandOp.update:
        return this.#update(command);
      case CommandOp.compareAndSwap:
        return this.#compareAndSwap(command);
      case CommandOp.delete:
        return this.#delete(command);
      case CommandOp.compareAndDelete:
        return this.#compareAndDelete(command);
      case CommandOp.sync:
        this.#sync(command.timeMs);
        return undefined;
      case CommandOp.raise:
        return undefined; // Handled by the member; the store has no format level.
      default:
        return unreachable(command.op);
    }
  }

  /** @throws AssertionError */
  checkInvariants(): void {
    this.#keys.checkInvariants();
    const all = this.#keys.cursor("");
    for (let node = all.next(); node !== undefined; node = all.next()) {
      assert(node.createdIndex <= this.#index, "no node is newer than the store");
    }
  }

  #set(command: Command): Event | Refusal {
    const { path } = command;
    const old = this.#keys.get(path);
    if (old === undefined && command.isRefresh) {
      this.stats.add(Stat.setsFail);
      return this.#whyMissing(path);
    }
    const value = command.isRefresh ? (old?.value ?? "") : command.value;
    const result = this.#put(command, path, value, old, Action.set);
    this.stats.add(result instanceof Event ? Stat.setsSuccess : Stat.setsFail);
    return result;
  }

  #create(command: Command, path: string): Event | Refusal {
    const old = this.#keys.get(path);
    const result = this.#put(command, path, command.value, old, Action.create);
    this.stats.add(result instanceof Event ? Stat.createSuccess : Stat.createFail);
    return result;
  }

  /** Set and create: puts a new node, creating missing parent directories. */
  #put(
    command: Command,
    path: string,
    value: string,
    old: Node | undefined,
    action: typeof Action.set | typeof Action.create,
  ): Event | Refusal {
    if (READ_ONLY.has(path)) return new Refusal(ErrorCode.rootReadOnly, "/", this.#index);
    const index = this.#index + 1;
    if (old === undefined) {
      const file = this.#keys.makeParents(path, index);
      if (file !== undefined) {
        // etcd counts a failed set in addition to the failed create.
        if (action === Action.create) this.stats.add(Stat.setsFail);
        return new Refusal(ErrorCode.notDirectory, file.path, this.#index);
      }
    } else if (action === Action.create) {
      return new Refusal(ErrorCode.nodeExists, path, this.#index);
    } else if (old.isDirectory) {
      return new Refusal(ErrorCode.notFile, path, this.#index);
    }
    const node = new Node(
      path,
      command.isDirectory ? "" : value,
      command.isDirectory,
      index,
      index,
      cleanExpiration(command.expirationMs),
    );
    this.#keys.put(node, old);
    return this.#publish(action, node, old, command, command.isRefresh && action === Action.set);
  }

  #update(command: Command): Event | Refusal {
    const { path } = command;
    if (READ_ONLY.has(path)) {
      this.stats.add(Stat.updateSuccess); // Sic: etcd counts it so.
      return new Refusal(ErrorCode.rootReadOnly, "/", this.#index);
    }
    const old = this.#keys.get(path);
    if (old === undefined) {
      this.stats.add(Stat.updateFail);
      return this.#whyMissing(path);
    }
    this.stats.add(Stat.updateSuccess);
    if (old.isDirectory && command.value !== "") {
      return new Refusal(ErrorCode.notFile, path, this.#index);
    }
    const index = this.#index + 1;
    // A deadline before 2000 is kept here and in compareAndSwap; only for new nodes does it mean
    // "never".
    const { expirationMs } = command;
    const value = command.isRefresh ? old.value : command.value;
    const shown = new Node(path, value, old.isDirectory, old.createdIndex, index, expirationMs);
    // etcd quirk: an updated directory keeps its modifiedIndex, although the event shows the new
    // one.
    const kept = old.isDirectory
      ? new Node(path, "", true, old.createdIndex, old.modifiedIndex, expirationMs)
      : shown;
    this.#keys.put(kept, old);
    return this.#publish(Action.update, shown, old, command, command.isRefresh);
  }

  #compareAndSwap(command: Command): Event | Refusal {
    const { path } = command;
    if (READ_ONLY.has(path)) {
      this.stats.add(Stat.compareAndSwapSuccess); // Sic: etcd counts it so.
      return new Refusal(ErrorCode.rootReadOnly, "/", this.#index);
    }
    const old = this.#keys.get(path);
    const refusal = this.#compare(command, old);
    if (refusal !== undefined || old === undefined) {
      this.stats.add(Stat.compareAndSwapFail);
      return refusal ?? this.#whyMissing(path);
    }
    this.stats.add(Stat.compareAndSwapSuccess);
    const value = command.isRefresh ? old.value : command.value;
    const { createdIndex } = old;
    const index = this.#index + 1;
    const node = new Node(path, value, false, createdIndex, index, command.expirationMs);
    this.#keys.put(node, old);
    return this.#publish(Action.compareAndSwap, node, old, command, command.isRefresh);
  }

  #compareAndDelete(command: Command): Event | Refusal {
    const old = this.#keys.get(command.path);
    if (old === undefined) {
      this.stats.add(Stat.compareAndDeleteFail);
      return this.#whyMissing(command.path);
    }
    // etcd counts a success even if the comparison fails.
    this.stats.add(Stat.compareAndDeleteSuccess);
    const refusal = this.#compare(command, old);
    if (refusal !== undefined) return refusal;
    return this.#remove(Action.compareAndDelete, old, command.timeMs);
  }

  /** If both conditions are given, both must hold (v2store/node.go, Compare). */
  #compare(command: Command, old: Node | undefined): Refusal | undefined {
    if (old === undefined) return undefined;
    if (old.isDirectory) return new Refusal(ErrorCode.notFile, command.path, this.#index);
    const { prevValue, prevIndex } = command;
    const causes: string[] = [];
    if (prevValue !== "" && prevValue !== old.value) causes.push(`[${prevValue} != ${old.value}]`);
    if (prevIndex !== 0 && prevIndex !== old.modifiedIndex) {
      causes.push(`[${prevIndex} != ${old.modifiedIndex}]`);
    }
    if (causes.length === 0) return undefined;
    return new Refusal(ErrorCode.compareFailed, causes.join(" "), this.#index);
  }

  #delete(command: Command): Event | Refusal {
    const { path } = command;
    if (READ_ONLY.has(path)) {
      this.stats.add(Stat.deleteSuccess); // Sic: etcd counts it so.
      return new Refusal(ErrorCode.rootReadOnly, "/", this.#index);
    }
    const old = this.#keys.get(path);
    if (old === undefined) {
      this.stats.add(Stat.deleteFail);
      return this.#whyMissing(path);
    }
    if (old.isDirectory && !command.isRecursive) {
      const code = !command.isDirectory
        ? ErrorCode.notFile
        : this.#keys.isEmptyDirectory(path)
          ? undefined
          : ErrorCode.directoryNotEmpty;
      if (code !== undefined) {
        this.stats.add(Stat.deleteFail);
        return new Refusal(code, path, this.#index);
      }
    }
    this.stats.add(Stat.deleteSuccess);
    return this.#remove(Action.delete, old, command.timeMs);
  }

  /** Expires every due node, with one index and one event each; a directory with its subtree. */
  #sync(timeMs: number): void {
    for (let node = this.#keys.due(timeMs); node !== undefined; node = this.#keys.due(timeMs)) {
      this.#remove(Action.expire, node, timeMs);
      this.stats.add(Stat.expireCount);
    }
  }

  /** Removes a node with its subtree, and notifies the watches of each removed path. */
  #remove(
    action: typeof Action.delete | typeof Action.compareAndDelete | typeof Action.expire,
    old: Node,
    timeMs: number,
  ): Event {
    this.#index++;
    const { path, isDirectory, createdIndex } = old;
    const shown = new Node(path, "", isDirectory, createdIndex, this.#index, PERMANENT);
    const event = new Event(action, shown, old, timeMs, false);
    if (isDirectory) this.#removeBelow(path, event);
    this.#keys.remove(old);
    this.hub.notifyRemoved(event, path);
    this.#history.push(event, true);
    this.hub.notify(event);
    return event;
  }

  #removeBelow(path: string, event: Event): void {
    for (const node of this.#keys.below(path)) {
      this.#keys.remove(node);
      this.#history.removedUnnamed(node);
      this.hub.notifyRemoved(event, node.path);
    }
  }

  #publish(
    action: Action,
    node: Node,
    old: Node | undefined,
    command: Command,
    isRefresh: boolean,
  ): Event {
    this.#index++;
    const event = new Event(action, node, old, command.timeMs, isRefresh);
    // The event of an updated directory has a node of its own, which is not in the tree.
    this.#history.push(event, action === Action.update && node.isDirectory);
    if (!isRefresh) this.hub.notify(event);
    return event;
  }

  /** Error 100 naming the first missing path component, or 104 naming a file in the path. */
  #whyMissing(path: string): Refusal {
    for (let end = path.indexOf("/", 1); ; end = path.indexOf("/", end + 1)) {
      const part = end < 0 ? path : path.slice(0, end);
      const node = this.#keys.get(part);
      if (node === undefined) return new Refusal(ErrorCode.keyNotFound, part, this.#index);
      assert(end >= 0, "a missing path has a missing component or a file");
      if (!node.isDirectory) return new Refusal(ErrorCode.notDirectory, part, this.#index);
    }
  }
}

function cleanExpiration(expirationMs: number): number {
  return expirationMs < EXPIRATION_MS_MIN ? PERMANENT : expirationMs;
}

/**
 * Watches below a removed directory are notified per removed node, and the event does not list
 * those.
 */
function removesMoreThanItShows(event: Event): boolean {
  return event.node.isDirectory && event.prevNode !== undefined && isRemoval(event.action);
}
