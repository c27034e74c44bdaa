import { setTimeout as sleep } from "node:timers/promises";
import type { Watch, WatchItem } from "./answers.js";
import { type Cluster, Limit } from "./cluster.js";
import {
  EndpointError,
  EtcdError,
  EventIndexClearedError,
  KeyNotFoundError,
  UnavailableError,
} from "./errors.js";
import { refusal } from "./json-api.js";
import { headerNumber, keysAnswer, keysEvent, keysRequest } from "./keys.js";
import type { WatchOptions } from "./options.js";
import type { Answer } from "./transport.js";

const OUTAGE_MS = 60_000;
const PAUSE_MS_MIN = 50;
const PAUSE_MS_MAX = 1000;
/** "watcher is cleared due to etcd recovery": wait again. */
const WATCHER_CLEARED = 400;

/** A generator's own `return` would wait for the event that its `next` waits for. */
export function watch(cluster: Cluster, key: string, options: WatchOptions): Watch {
  const ending = new AbortController();
  const items = follow(cluster, key, options, ending.signal);
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

async function* follow(
  cluster: Cluster,
  key: string,
  options: WatchOptions,
  ending: AbortSignal,
): AsyncGenerator<WatchItem, undefined, undefined> {
  const limit = new Limit([ending, options.signal, cluster.closing]);
  const poll = new Poll(cluster, key, options, limit.signal);
  try {
    for (;;) yield await poll.next();
  } catch (error) {
    if (!ending.aborted && !options.signal?.aborted) throw error;
    return undefined;
  } finally {
    limit.end();
  }
}

/**
 * Waits for one event at a time (a long poll) and asks for the next one by index, so that it does not matter
 * which member answers: one that lags waits until it is there itself. Streams (`stream=true`) are not used,
 * because of the events in the history they deliver only the first.
 *
 *   waitIndex unknown  from now on; the head of the answer comes at once, and tells what "now" is
 *   event at i         next waitIndex is i + 1
 *   cut off            same waitIndex, another member
 *   401, cleared       read the key through a quorum at index i, yield it as a reset, next waitIndex is i + 1
 */
class Poll {
  readonly #cluster: Cluster;
  readonly #key: string;
  readonly #options: WatchOptions;
  readonly #signal: AbortSignal;
  /** Index of the next event that is of interest; 0: what comes from now on. */
  #waitIndex: number;
  #hasBegun = false;
  /** Since when no member is reachable. */
  #outageSinceMs: number | undefined;

  constructor(cluster: Cluster, key: string, options: WatchOptions, signal: AbortSignal) {
    this.#cluster = cluster;
    this.#key = key;
    this.#options = options;
    this.#signal = signal;
    const { afterIndex, waitIndex } = options;
    this.#waitIndex = waitIndex ?? (afterIndex === undefined ? 0 : afterIndex + 1);
  }

  /** The next item, after as many attempts as it takes. */
  async next(): Promise<WatchItem> {
    let pauseMs = 0;
    for (;;) {
      try {
        const item = await this.#wait();
        if (item !== undefined) return item;
      } catch (error) {
        this.#noteOutage(error);
      }
      // A lost member is left at once; only what fails again is given time.
      if (pauseMs > 0) await pause(pauseMs, this.#signal);
      pauseMs = Math.min(Math.max(pauseMs * 2, PAUSE_MS_MIN), PAUSE_MS_MAX);
    }
  }

  /** @returns undefined if the wait ended without an event */
  async #wait(): Promise<WatchItem | undefined> {
    const { recursive = false, endpoint } = this.#options;
    const query = { recursive, wait: true, waitIndex: this.#waitIndex };
    const request = { ...keysRequest({ method: "GET", key: this.#key, query }), isWatch: true };
    const head = await this.#cluster.wait(request, endpoint, this.#signal);
    this.#outageSinceMs = undefined;
    if (head.status === 200) this.#begin(headerNumber(head.headers, "x-etcd-index"));
    try {
      return await this.#take(head);
    } catch (error) {
      if (error instanceof EventIndexClearedError) return this.#reread(error);
      if (error instanceof EtcdError && error.errorCode === WATCHER_CLEARED) return undefined;
      if (error instanceof EndpointError) return undefined;
      throw error;
    }
  }

  #begin(storeIndex: number): void {
    this.#hasBegun = true;
    if (this.#waitIndex === 0) this.#waitIndex = storeIndex + 1;
  }

  async #take(head: Answer): Promise<WatchItem | undefined> {
    const { status, headers, endpoint } = head;
    const answer = { status, headers, endpoint, body: await head.text() };
    if (status !== 200) throw refusal(answer);
    // A member that stops ends its waits with an empty answer.
    if (answer.body.trim() === "") return undefined;
    const event = keysEvent(answer);
    const index = event.node.modifiedIndex;
    this.#waitIndex = index + 1;
    const storeIndex = headerNumber(headers, "x-etcd-index");
    return { kind: "event", ...event, index, storeIndex, endpoint };
  }

  async #reread(reason: EventIndexClearedError): Promise<WatchItem> {
    const { recursive = false, endpoint } = this.#options;
    const query = { recursive, sorted: true, quorum: true };
    const request = keysRequest({ method: "GET", key: this.#key, query });
    let item: WatchItem;
    try {
      const answer = await this.#cluster.ask(request, { endpoint, signal: this.#signal });
      const { node, index, endpoint: by } = keysAnswer(answer);
      item = { kind: "reset", node, index, endpoint: by, reason };
    } catch (error) {
      if (!(error instanceof KeyNotFoundError)) throw error;
      const { index, endpoint: by } = error;
      item = { kind: "reset", node: undefined, index, endpoint: by, reason };
    }
    this.#waitIndex = item.index + 1;
    return item;
  }

  /** @throws the error if it is none to wait out */
  #noteOutage(error: unknown): void {
    if (!(error instanceof UnavailableError) || !this.#hasBegun) throw error;
    const nowMs = performance.now();
    this.#outageSinceMs ??= nowMs;
    if (nowMs - this.#outageSinceMs >= (this.#options.outageMs ?? OUTAGE_MS)) throw error;
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
