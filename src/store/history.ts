import { assert } from "../lib/assert.js";
import { Action, type Event } from "./event.js";
import { ErrorCode, Refusal } from "./refusal.js";

/** etcd's window (v2store/store.go, newWatchHub(1000)); a longer one is an option. */
export const HISTORY_EVENTS_DEFAULT = 1000;

/**
 * The last events, one for each index without a gap: refreshes and internal changes included, since
 * every change takes an index.
 */
export class History {
  readonly #events: Event[] = [];
  readonly #eventsMax: number;
  /** Where in #events the next event goes once it is full. */
  #next = 0;
  #lastIndex = 0;

  constructor(eventsMax: number) {
    assert(eventsMax > 0, "the history holds at least one event");
    this.#eventsMax = eventsMax;
  }

  /** Index of the oldest event kept; 0 before the first. */
  get startIndex(): number {
    return this.#events.length === 0 ? 0 : this.#lastIndex - this.#events.length + 1;
  }

  push(event: Event): void {
    assert(
      this.#events.length === 0 || event.index === this.#lastIndex + 1,
      "events come without a gap",
    );
    this.#lastIndex = event.index;
    if (this.#events.length < this.#eventsMax) {
      this.#events.push(event);
      return;
    }
    this.#events[this.#next] = event;
    this.#next = (this.#next + 1) % this.#eventsMax;
  }

  /** Oldest first. */
  toArray(): Event[] {
    return [...this.#events.slice(this.#next), ...this.#events.slice(0, this.#next)];
  }

  /**
   * The first event at or after an index that concerns a watch, as etcd finds it
   * (v2store/event_history.go): unlike live events hidden keys are not left out, and a removed directory
   * concerns every path that begins with its text, "/hfoo" too when "/h" went.
   *
   * @param storeIndex what a refusal reports as the current index
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
    const offset = index - this.startIndex;
    return this.#events[(this.#next + offset) % this.#events.length] as Event;
  }
}

function concerns(event: Event, path: string, below: string, isRecursive: boolean): boolean {
  const key = event.node.path;
  if (key === path || (isRecursive && key.startsWith(below))) return true;
  const isRemoval = event.action === Action.delete || event.action === Action.expire;
  return isRemoval && event.prevNode?.isDirectory === true && path.startsWith(event.prevNode.path);
}
