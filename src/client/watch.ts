import { setTimeout as sleep } from "node:timers/promises";
import { type Cluster, manyListeners } from "./cluster.js";
import {
  EndpointError,
  EtcdError,
  EventIndexClearedError,
  KeyNotFoundError,
  UnavailableError,
} from "./errors.js";
import { errorOf } from "./json-api.js";
import { headerNumber, keysRequest, readEvent, readKeysAnswer } from "./keys.js";
import type { WatchOptions } from "./options.js";
import type { Watch, WatchItem } from "./responses.js";
import type { MemberResponse } from "./transport.js";

const OUTAGE_MS = 60_000;
const PAUSE_MS_MIN = 50;
const PAUSE_MS_MAX = 1000;
/** etcd's error "watcher is cleared due to etcd recovery": poll again. */
const WATCHER_CLEARED = 400;

/**
 * Ends at `return`, even during `next`: a generator's own `return` would wait for the next event.
 */
export function watchKey(cluster: Cluster, key: string, options: WatchOptions): Watch {
  const ending = new AbortController();
  const signals = [ending.signal];
  if (options.signal !== undefined) signals.push(manyListeners(options.signal));
  const items = follow(new Poller(cluster, key, options, signals), signals);
  const iteration: Watch = {
    next: () => items.next(),
    return: () => {
      ending.abort();
      return items.return(undefined);
    },
    [Symbol.asyncIterator]: () => iteration,
  };
  return iteration;
}

/** @param signals each ends the iteration without an error */
async function* follow(
  poller: Poller,
  signals: readonly AbortSignal[],
): AsyncGenerator<WatchItem, undefined, undefined> {
  try {
    for (;;) yield await poller.next();
  } catch (error) {
    if (signals.some(({ aborted }) => aborted)) return undefined;
    throw error;
  }
}

/**
 * Waits for one event at a time (a long poll) and asks for the next one by index, so that any
 * member can serve it: one that lags waits until it has applied that index. Streams (`stream=true`)
 * are not used, because they deliver only the first of the events in the history.
 *
 *   waitIndex unknown     from now on; the response's headers, sent at once, have the current index
 *   event at i            next waitIndex is i + 1
 *   connection lost       same waitIndex, another member
 *   401 (index cleared)   quorum read of the key at index i, yield a reset; next waitIndex is i + 1
 */
class Poller {
  readonly #cluster: Cluster;
  readonly #key: string;
  readonly #options: WatchOptions;
  readonly #signals: readonly AbortSignal[];
  /** Of the next event to deliver; 0: the first one from now on. */
  #waitIndex: number;
  #hasBegun = false;
  /** When the last member became unreachable. */
  #outageSinceMs: number | undefined;

  constructor(
    cluster: Cluster,
    key: string,
    options: WatchOptions,
    signals: readonly AbortSignal[],
  ) {
    this.#cluster = cluster;
    this.#key = key;
    this.#options = options;
    this.#signals = signals;
    const { afterIndex, waitIndex } = options;
    this.#waitIndex = waitIndex ?? (afterIndex === undefined ? 0 : afterIndex + 1);
  }

  /** The next item, after as many attempts as it takes. */
  async next(): Promise<WatchItem> {
    let pauseMs = 0;
    for (;;) {
      try {
        const item = await this.#poll();
        if (item !== undefined) return item;
      } catch (error) {
        this.#noteOutage(error);
      }
      // The next member is tried at once after a lost connection; repeated failures are spaced out.
      if (pauseMs > 0) await pause(pauseMs, this.#signal());
      pauseMs = Math.min(Math.max(pauseMs * 2, PAUSE_MS_MIN), PAUSE_MS_MAX);
    }
  }

  /** @returns undefined if the poll ended without an event */
  async #poll(): Promise<WatchItem | undefined> {
    const { recursive = false, endpoint } = this.#options;
    const query = { recursive, wait: true, waitIndex: this.#waitIndex };
    const request = { ...keysRequest({ method: "GET", key: this.#key, query }), isWatch: true };
    const response = await this.#cluster.poll(request, endpoint, this.#signals);
    this.#outageSinceMs = undefined;
    if (response.status === 200) this.#begin(headerNumber(response.headers, "x-etcd-index"));
    try {
      return await this.#readItem(response);
    } catch (error) {
      if (error instanceof EventIndexClearedError) return this.#reset(error);
      if (error instanceof EtcdError && error.errorCode === WATCHER_CLEARED) return undefined;
      if (error instanceof EndpointError) return undefined;
      throw error;
    }
  }

  #begin(storeIndex: number): void {
    this.#hasBegun = true;
    if (this.#waitIndex === 0) this.#waitIndex = storeIndex + 1;
  }

  async #readItem(response: MemberResponse): Promise<WatchItem | undefined> {
    const { status, headers, endpoint } = response;
    const complete = { status, headers, endpoint, body: await response.text() };
    if (status !== 200) throw errorOf(complete);
    // A member that shuts down ends its polls with an empty body.
    if (complete.body.trim() === "") return undefined;
    const event = readEvent(complete);
    const index = event.node.modifiedIndex;
    this.#waitIndex = index + 1;
    const storeIndex = headerNumber(headers, "x-etcd-index");
    return { kind: "event", ...event, index, storeIndex, endpoint };
  }

  async #reset(reason: EventIndexClearedError): Promise<WatchItem> {
    const { recursive = false, endpoint } = this.#options;
    const query = { recursive, sorted: true, quorum: true };
    const request = keysRequest({ method: "GET", key: this.#key, query });
    let item: WatchItem;
    try {
      const response = await this.#cluster.request(request, { endpoint, signal: this.#signal() });
      const { node, index, endpoint: readFrom } = readKeysAnswer(response);
      item = { kind: "reset", node, index, endpoint: readFrom, reason };
    } catch (error) {
      if (!(error instanceof KeyNotFoundError)) throw error;
      const { index, endpoint: readFrom } = error;
      item = { kind: "reset", node: undefined, index, endpoint: readFrom, reason };
    }
    this.#waitIndex = item.index + 1;
    return item;
  }

  /** @throws the error unless it is an outage that may still end */
  #noteOutage(error: unknown): void {
    if (!(error instanceof UnavailableError) || !this.#hasBegun) throw error;
    const monoMs = performance.now();
    this.#outageSinceMs ??= monoMs;
    if (monoMs - this.#outageSinceMs >= (this.#options.outageMs ?? OUTAGE_MS)) throw error;
  }

  /**
   * For rare events only: in Node.js 20 each combined signal leaks about 70 bytes at its sources.
   */
  #signal(): AbortSignal {
    return AbortSignal.any([...this.#signals, this.#cluster.closing]);
  }
}

/** @throws the signal's reason */
async function pause(ms: number, signal: AbortSignal): Promise<void> {
  try {
    await sleep(ms, undefined, { signal });
  } catch (error) {
    throw signal.aborted ? signal.reason : error;
  }
}
