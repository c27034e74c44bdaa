import { assert } from "../lib/assert.js";
import type { Event } from "./event.js";
import type { History } from "./history.js";
import type { Refusal } from "./refusal.js";

/**
 * Heap bytes of an open watch beside its path. Measured: 203 bytes with a path of 40. A path with
 * several watches has a Set, which takes as much again, but is rare.
 */
const WATCH_BYTES = 256;

/** A client's watch. */
export interface Watch {
  /** Chosen by the caller, unique among open watches. */
  readonly watcherId: number;
  /** Internal: "/1/foo". */
  readonly path: string;
  readonly isRecursive: boolean;
  /** Delivers all matching events, not only the first. */
  readonly isStream: boolean;
  /** First index of interest. */
  readonly sinceIndex: number;
}

/** An event and the watches it goes to; rendered once for all of them. */
export interface Delivery {
  readonly event: Event;
  /** Ids of watches that this event completes. */
  readonly oneShots: number[];
  /** Ids of streams. An id appears twice where etcd sends the event twice. */
  readonly streams: number[];
}

/**
 * Finds the watches that match an event, as etcd does (v2store/watcher_hub.go): looks up the
 * event's path and each of its parents, so watches on other keys cost nothing.
 */
export class WatchHub {
  #history: History;
  readonly #byId = new Map<number, Watch>();
  /** Most paths have one watch, which needs no Set. */
  readonly #byPath = new Map<string, Watch | Set<Watch>>();
  #bytes = 0;
  #deliveries: Delivery[] = [];
  #open: Delivery | undefined;

  constructor(history: History) {
    this.#history = history;
  }

  /** New watches scan this history from now on. */
  readFrom(history: History): void {
    this.#history = history;
  }

  /** Number of open watches. */
  get count(): number {
    return this.#byId.size;
  }

  /** Approximate heap bytes of the open watches. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Opens a watch.
   *
   * @param storeIndex the store's current index
   * @returns undefined if the watch is open. Otherwise it is *not* open: an event of the history
   *   completes it or, as in etcd, leaves a stream silent forever; or it was refused
   */
  add(watch: Watch, storeIndex: number): Event | Refusal | undefined {
    const found = this.#history.scan(watch.path, watch.isRecursive, watch.sinceIndex, storeIndex);
    if (found !== undefined) return found;
    const before = this.#byId.size;
    this.#byId.set(watch.watcherId, watch);
    assert(this.#byId.size === before + 1, "no open watch has the new one's id");
    this.#bytes += WATCH_BYTES + watch.path.length;
    const others = this.#byPath.get(watch.path);
    if (others === undefined) this.#byPath.set(watch.path, watch);
    else if (others instanceof Set) others.add(watch);
    else this.#byPath.set(watch.path, new Set([others, watch]));
    return undefined;
  }

  /** Closes a watch; does nothing if it is not open. */
  remove(watcherId: number): void {
    const watch = this.#byId.get(watcherId);
    if (watch !== undefined) this.#remove(watch);
  }

  /** Closes all watches and returns their ids. */
  clear(): number[] {
    const ids = [...this.#byId.keys()];
    this.#byId.clear();
    this.#byPath.clear();
    this.#bytes = 0;
    return ids;
  }

  /** Closes some watches and returns their ids. */
  removeAll(isConcerned: (watcherId: number) => boolean): number[] {
    const ids = [...this.#byId.keys()].filter(isConcerned);
    for (const id of ids) this.remove(id);
    return ids;
  }

  /** Delivers an event to the watches of its path and of all parents. */
  notify(event: Event): void {
    if (this.#byId.size === 0) return;
    const { path } = event.node;
    // Parents first: "/1", "/1/a", "/1/a/b".
    for (let end = path.indexOf("/", 1); end > 0; end = path.indexOf("/", end + 1)) {
      this.#notifyAt(event, path.slice(0, end), false);
    }
    this.#notifyAt(event, path, false);
    this.#open = undefined;
  }

  /**
   * An event removed the node at `path`: notifies the watches of that very path. Call before
   * notify().
   */
  notifyRemoved(event: Event, path: string): void {
    if (this.#byId.size > 0) this.#notifyAt(event, path, true);
  }

  /** The deliveries since the last call, in order. */
  takeDeliveries(): Delivery[] {
    const taken = this.#deliveries;
    if (taken.length > 0) this.#deliveries = [];
    this.#open = undefined;
    return taken;
  }

  #notifyAt(event: Event, watchPath: string, isRemoved: boolean): void {
    const here = this.#byPath.get(watchPath);
    if (here === undefined) return;
    const isExact = event.node.path === watchPath;
    if (!isExact && isHidden(watchPath, event.node.path)) return;
    if (!(here instanceof Set)) {
      this.#offer(here, event, isExact, isRemoved);
      return;
    }
    for (const watch of here) this.#offer(watch, event, isExact, isRemoved);
  }

  #offer(watch: Watch, event: Event, isExact: boolean, isRemoved: boolean): void {
    if (!(watch.isRecursive || isExact || isRemoved) || event.index < watch.sinceIndex) return;
    if (this.#open?.event !== event) {
      this.#open = { event, oneShots: [], streams: [] };
      this.#deliveries.push(this.#open);
    }
    if (watch.isStream) {
      this.#open.streams.push(watch.watcherId);
    } else {
      this.#open.oneShots.push(watch.watcherId);
      this.#remove(watch);
    }
  }

  #remove(watch: Watch): void {
    const wasOpen = this.#byId.delete(watch.watcherId);
    assert(wasOpen, "the watch is open");
    this.#bytes -= WATCH_BYTES + watch.path.length;
    assert(this.#byId.size > 0 || this.#bytes === 0, "no bytes without watches");
    const here = this.#byPath.get(watch.path);
    if (!(here instanceof Set)) {
      assert(here === watch, "the watch is registered at its path");
      this.#byPath.delete(watch.path);
      return;
    }
    const wasHere = here.delete(watch);
    assert(wasHere, "the watch is registered at its path");
    if (here.size === 0) this.#byPath.delete(watch.path);
  }
}

/** Whether a path component below the watch begins with "_". */
function isHidden(watchPath: string, path: string): boolean {
  return path.length > watchPath.length && path.indexOf("/_", watchPath.length) >= 0;
}
