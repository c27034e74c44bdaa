import { assert } from "../lib/assert.js";
import type { Event } from "./event.js";
import type { History } from "./history.js";
import type { Refusal } from "./refusal.js";

/**
 * What an open watch takes of the heap beside its path; measured: 203 bytes with a path of 40. An
 * own set of watches for its path takes as much again, but is rare.
 */
const WATCH_BYTES = 256;

/** The events a client asked for. */
export interface Watch {
  /** Unique among the open ones; the caller's. */
  readonly watcherId: number;
  /** Internal: "/1/foo". */
  readonly path: string;
  readonly isRecursive: boolean;
  /** Many events instead of one. */
  readonly isStream: boolean;
  /** First index of interest. */
  readonly sinceIndex: number;
}

/** One event and whom it reaches; rendered once for all of them. */
export interface Delivery {
  readonly event: Event;
  /** Their watch ends with it. */
  readonly oneShots: number[];
  /** An id stands twice where etcd sends the event twice. */
  readonly streams: number[];
}

/**
 * Finds the watches an event concerns, as etcd does (v2store/watcher_hub.go): by looking up the
 * event's path and each of its parents, so watches on other keys cost nothing.
 */
export class WatchHub {
  #history: History;
  readonly #byId = new Map<number, Watch>();
  /** Most paths have one watch: no set for those. */
  readonly #byPath = new Map<string, Watch | Set<Watch>>();
  #bytes = 0;
  #deliveries: Delivery[] = [];
  #open: Delivery | undefined;

  constructor(history: History) {
    this.#history = history;
  }

  /** New watches look into this history from now on. */
  readFrom(history: History): void {
    this.#history = history;
  }

  /** Open watches. */
  get count(): number {
    return this.#byId.size;
  }

  /** What open watches take of the heap, about. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Opens a watch.
   *
   * @param storeIndex the store's current index
   * @returns an event from the history, and the watch is *not* open: it is complete, or, as a
   *   stream, stays silent for ever, as in etcd; a refusal; or undefined: the watch is open
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

  /** Closes a watch; nothing happens if it is not open. */
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

  /** An event happened at its path. */
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
   * An event removed the node at `path`: notifies the watches of that very path. Before notify().
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
    assert(wasOpen, "a watch is closed once");
    this.#bytes -= WATCH_BYTES + watch.path.length;
    assert(this.#byId.size > 0 || this.#bytes === 0, "no watches, no bytes");
    const here = this.#byPath.get(watch.path);
    if (!(here instanceof Set)) {
      assert(here === watch, "the watch is found by its path");
      this.#byPath.delete(watch.path);
      return;
    }
    const wasHere = here.delete(watch);
    assert(wasHere, "the watch is found by its path");
    if (here.size === 0) this.#byPath.delete(watch.path);
  }
}

/** Whether a path component below the watch begins with "_". */
function isHidden(watchPath: string, path: string): boolean {
  return path.length > watchPath.length && path.indexOf("/_", watchPath.length) >= 0;
}
