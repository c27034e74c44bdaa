import { setTimeout as sleep } from "node:timers/promises";
import type { Node, WatchItem } from "../../client/responses.js";
import type { StreamEvent } from "../../client/stream.js";
import { type Item, isBelow, isShown, itemOf, itemsBelow } from "./listing.js";
import type { ScopeListing, Side } from "./side.js";

/** A change in the source. */
export type Change = { readonly index: number } & (
  | { readonly kind: "put"; readonly item: Item }
  | { readonly kind: "remove"; readonly key: string; readonly isDirectory: boolean }
  /** The history was cleared: everything as it is now. */
  | { readonly kind: "reset"; readonly listing: ScopeListing }
  /** Of a key that is not copied. */
  | { readonly kind: "none" }
);

/** Read ahead of the target. */
const CHANGES_MAX = 10_000;
/** Between two streams. */
const PAUSE_MS = 100;
const REMOVALS = ["delete", "expire", "compareAndDelete"];

/**
 * Reads the changes below one key of the source, ahead of those that are applied, so that the
 * source's history of 1,000 events suffices for a burst.
 */
export class Follower {
  readonly scope: string;
  readonly #source: Side;
  readonly #signal: AbortSignal;
  #queue: Change[] = [];
  #readIndex: number;
  /** Set while `waitForChange` waits. */
  #wake: (() => void) | undefined;
  readonly #running: Promise<void>;
  #failure: { readonly reason: unknown } | undefined;

  /** @param afterIndex changes after it are read; ends with the signal */
  constructor(source: Side, scope: string, afterIndex: number, signal: AbortSignal) {
    this.scope = scope;
    this.#source = source;
    this.#signal = signal;
    this.#readIndex = afterIndex;
    this.#running = this.#run().catch((reason: unknown) => {
      if (!signal.aborted) this.#failure = { reason };
      this.#wake?.();
    });
  }

  /** The next changes, up to that index. @throws what ended the watch */
  take(indexMax = Number.POSITIVE_INFINITY): Change[] {
    if (this.#failure !== undefined) throw this.#failure.reason;
    const end = this.#queue.findIndex(({ index }) => index > indexMax);
    return this.#queue.splice(0, end < 0 ? this.#queue.length : end);
  }

  /** Whether all changes up to that index were read. */
  hasRead(index: number): boolean {
    return this.#readIndex >= index;
  }

  /** @returns false if there was none for so long */
  async waitForChange(ms: number): Promise<boolean> {
    if (this.#queue.length > 0 || this.#failure !== undefined) return true;
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve) => {
      timer = setTimeout(resolve, ms);
      this.#wake = resolve;
    });
    clearTimeout(timer);
    this.#wake = undefined;
    return this.#queue.length > 0 || this.#failure !== undefined;
  }

  async end(): Promise<void> {
    await this.#running;
  }

  async #run(): Promise<void> {
    while (!this.#signal.aborted) {
      try {
        await this.#watch(); // Until the server ends the stream.
      } catch (error) {
        this.#source.noteDown(error);
      }
      await sleep(PAUSE_MS, undefined, { signal: this.#signal });
    }
  }

  /**
   * A stream delivers changes from its beginning on, and is fast; a watch those before, one by one.
   * The stream is read meanwhile, as servers drop slow clients.
   */
  async #watch(): Promise<void> {
    const ending = new AbortController();
    const signal = AbortSignal.any([this.#signal, ending.signal]);
    const stream = await this.#source.stream(this.scope, signal);
    const early: StreamEvent[] = [];
    let isFilled = false;
    const read = async () => {
      for await (const event of stream.events) {
        if (isFilled) await this.#take(event);
        else early.push(event);
      }
    };
    const fill = async () => {
      await this.#fill(stream.index, signal);
      for (let event = early.shift(); event !== undefined; event = early.shift()) {
        await this.#take(event);
      }
      isFilled = true;
      this.#source.noteUp();
    };
    try {
      await Promise.all([read(), fill()]);
    } finally {
      ending.abort(); // One of the two may have failed while the other waits.
    }
  }

  /** Reads up to the first change after the index, or to the index itself. */
  async #fill(index: number, signal: AbortSignal): Promise<void> {
    if (this.#readIndex >= index) return;
    // An outage ends the watch at once: it is reported, and waited for, here.
    const options = {
      ...{ recursive: true, outageMs: 0 },
      ...{ afterIndex: this.#readIndex, signal },
    };
    for await (const item of this.#source.client.watch(this.scope, options)) {
      await this.#push(this.#changeOf(item));
      if (item.index >= index) return;
    }
  }

  async #take({ action, node }: StreamEvent): Promise<void> {
    const index = node.modifiedIndex;
    if (index > this.#readIndex) await this.#push(this.#eventChange(action, node, index));
  }

  async #push(change: Change): Promise<void> {
    this.#readIndex = change.index;
    this.#queue.push(change);
    this.#wake?.();
    while (this.#queue.length >= CHANGES_MAX) {
      await sleep(10, undefined, { signal: this.#signal });
    }
  }

  #changeOf(item: WatchItem): Change {
    const { index } = item;
    if (item.kind === "reset") {
      this.#source.setClock(item.node, Date.now());
      return { kind: "reset", index, listing: { items: itemsBelow(item.node), index } };
    }
    return this.#eventChange(item.action, item.node, index);
  }

  #eventChange(action: string, node: Node, index: number): Change {
    if (REMOVALS.includes(action)) return this.#removalOf(node, index);
    if (!isShown(node.key, this.scope)) return { kind: "none", index };
    return { kind: "put", index, item: itemOf(node) };
  }

  /** A directory that was removed may contain the scope. */
  #removalOf({ key, dir = false }: Node, index: number): Change {
    if (isShown(key, this.scope)) return { kind: "remove", index, key, isDirectory: dir };
    if (isBelow(this.scope, key)) {
      return { kind: "remove", index, key: this.scope, isDirectory: true };
    }
    return { kind: "none", index };
  }
}
