import { assert } from "../lib/assert.js";
import { Action, type Event } from "./event.js";
import type { Node } from "./node.js";
import { ErrorCode, Refusal } from "./refusal.js";
import { EVENT_BYTES, nodeBytes } from "./size.js";

/** etcd's window (v2store/store.go, newWatchHub(1000)); a longer one is an option. */
export const HISTORY_EVENTS_DEFAULT = 1000;

/** Slots of dropped events kept at the front before the arrays are compacted. */
const HOLES_MAX = 1024;

/**
 * The latest events, one per index without a gap, including refreshes and internal changes, as
 * every change takes an index. Bounded by count and by bytes: a thousand events of 10 MB would
 * exceed everything else.
 */
export class History {
  /** Oldest first; entries before #head are dropped. */
  readonly #events: (Event | undefined)[] = [];
  /** Bytes each event keeps alive: its own, and those of nodes that only the history references. */
  readonly #held: number[] = [];
  readonly #eventsMax: number;
  readonly #bytesMax: number;
  #head = 0;
  #lastIndex = 0;
  #bytes = 0;

  constructor(eventsMax: number, bytesMax = Number.POSITIVE_INFINITY) {
    assert(eventsMax > 0, "the history holds at least one event");
    assert(bytesMax > 0, "the byte limit is positive");
    this.#eventsMax = eventsMax;
    this.#bytesMax = bytesMax;
  }

  /** Index of the oldest event kept; 0 before the first. */
  get startIndex(): number {
    return this.#size === 0 ? 0 : this.#lastIndex - this.#size + 1;
  }

  /** Bytes of the events and of nodes that only they keep alive. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * @param isNodeOnlyHere the event's node is not in the tree and will be no later event's prevNode
   */
  push(event: Event, isNodeOnlyHere: boolean): void {
    assert(this.#size === 0 || event.index === this.#lastIndex + 1, "events come without a gap");
    this.#lastIndex = event.index;
    let held = EVENT_BYTES;
    // A node that a change replaced is from now on kept alive only by this event.
    if (event.prevNode !== undefined) held += nodeBytes(event.prevNode);
    if (isNodeOnlyHere) held += nodeBytes(event.node);
    this.#events.push(event);
    this.#held.push(held);
    this.#bytes += held;
    if (this.#size > this.#eventsMax) this.#dropOldest();
    while (this.#bytes > this.#bytesMax && this.#size > 1) this.#dropOldest();
  }

  /**
   * A node was removed with its directory, so no event has it as prevNode; only its own event may
   * keep it alive.
   */
  removedUnnamed(node: Node): void {
    const at = this.#head + node.modifiedIndex - this.startIndex;
    if (at < this.#head || this.#events[at]?.node !== node) return;
    const bytes = nodeBytes(node);
    this.#held[at] = (this.#held[at] as number) + bytes;
    this.#bytes += bytes;
  }

  /** Oldest first. */
  toArray(): Event[] {
    return this.#events.slice(this.#head) as Event[];
  }

  get #size(): number {
    return this.#events.length - this.#head;
  }

  #dropOldest(): void {
    assert(this.#size > 0, "there is an event to drop");
    this.#bytes -= this.#held[this.#head] as number;
    assert(this.#bytes >= 0, "the number of bytes does not become negative");
    this.#events[this.#head++] = undefined;
    if (this.#head < HOLES_MAX || this.#head * 2 < this.#events.length) return;
    this.#events.splice(0, this.#head);
    this.#held.splice(0, this.#head);
    this.#head = 0;
  }

  /**
   * The first event at or after an index that matches a watch, with etcd's quirks
   * (v2store/event_history.go): unlike for live events, hidden keys match, and a removed directory
   * matches every path with its text as prefix, such as "/hfoo" for "/h".
   *
   * @param storeIndex current index, for the refusal
   */
  scan(
    path: string,
    isRecursive: boolean,
    sinceIndex: number,
    storeIndex: number,
  ): Event | Refusal | undefined {
    const start = this.startIndex;
    if (sinceIndex < start) {
      const cause = `the requested history has been cleared [${start}/${sinceIndex}]`;
      return new Refusal(ErrorCode.eventIndexCleared, cause, storeIndex);
    }
    const below = `${path}/`;
    for (let index = sinceIndex; index <= this.#lastIndex; index++) {
      const event = this.#at(index);
      if (!event.isRefresh && concerns(event, path, below, isRecursive)) return event;
    }
    return undefined;
  }

  #at(index: number): Event {
    return this.#events[this.#head + index - this.startIndex] as Event;
  }
}

function concerns(event: Event, path: string, below: string, isRecursive: boolean): boolean {
  const key = event.node.path;
  if (key === path || (isRecursive && key.startsWith(below))) return true;
  const isRemoval = event.action === Action.delete || event.action === Action.expire;
  return isRemoval && event.prevNode?.isDirectory === true && path.startsWith(event.prevNode.path);
}
