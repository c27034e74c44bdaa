import type { WatchItem } from "./answers.js";
import { type Cluster, Limit, type ReadAnswer } from "./cluster.js";
import { EventIndexClearedError, KeyNotFoundError, UnavailableError } from "./errors.js";
import { refusal } from "./json-api.js";
import { event, headerNumber, keysAnswer, keysRequest } from "./keys.js";
import type { WatchOptions } from "./options.js";
import type { Answer } from "./transport.js";

const OUTAGE_MS = 60_000;
const PAUSE_MS_MIN = 50;
const PAUSE_MS_MAX = 1000;

/**
 * Waits for one event at a time (a long poll) and asks for the next one by index, so that it does not matter
 * which member answers. A follower that lags just waits until it is there. Streams (`stream=true`) are not used:
 * of the events in the history they deliver only the first.
 *
 *   waitIndex unknown: from now on. The head of the answer comes at once and tells what "now" is.
 *   event at i:        next waitIndex is i + 1.
 *   cut off:           same waitIndex, next member.
 *   401, cleared:      read the key through a quorum at index i, yield it as a reset, next waitIndex is i + 1.
 */
export async function* watch(
  cluster: Cluster,
  key: string,
  options: WatchOptions,
): AsyncGenerator<WatchItem, void, undefined> {
  const limit = new Limit([options.signal, cluster.closing]);
  const poll = new Poll(cluster, key, options, limit.signal);
  try {
    for (;;) {
      const item = await poll.next();
      yield item;
    }
  } catch (error) {
    if (options.signal?.aborted) return;
    throw error;
  } finally {
    limit.end();
    poll.end();
  }
}

class Poll {
  readonly #cluster: Cluster;
  readonly #key: string;
  readonly #options: WatchOptions;
  readonly #signal: AbortSignal;
  /** Index of the next event that is of interest; 0: what comes from now on. */
  #waitIndex: number;
  /** Since when no member is reachable. */
  #outageSinceMs: number | undefined;
  #hasBegun = false;
  #open: Answer | undefined;

  constructor(cluster: Cluster, key: string, options: WatchOptions, signal: AbortSignal) {
    this.#cluster = cluster;
    this.#key = key;
    this.#options = options;
    this.#signal = signal;
    const { afterIndex = 0, waitIndex = afterIndex > 0 ? afterIndex + 1 : 0 } = options;
    this.#waitIndex = waitIndex;
  }

  /** The next item, after as many attempts as it takes. */
  async next(): Promise<WatchItem> {
    let pauseMs = PAUSE_MS_MIN;
    for (;;) {
      try {
        const item = await this.#once();
        if (item !== undefined) return item;
      } catch (error) {
        if (error instanceof EventIndexClearedError) {
          const item = await this.#reread(error);
          if (item !== undefined) return item;
        } else this.#noteOutage(error);
      }
      await pause(pauseMs, this.#signal);
      pauseMs = Math.min(pauseMs * 2, PAUSE_MS_MAX);
    }
  }

  end(): void {
    this.#open?.discard();
  }

  /** @returns undefined if a member ended the wait without an event */
  async #once(): Promise<WatchItem | undefined> {
    const { recursive = false, endpoint } = this.#options;
    const query = { recursive, wait: true, waitIndex: this.#waitIndex };
    const request = { ...keysRequest({ method: "GET", key: this.#key, query }), isWatch: true };
    return this.#cluster.try(request, { endpoint }, this.#signal, true, async (head) => {
      this.#open = head;
      try {
        return await this.#take(head);
      } finally {
        this.#open = undefined;
      }
    });
  }

  async #take(head: Answer): Promise<WatchItem | undefined> {
    const { status, headers, endpoint } = head;
    const storeIndex = headerNumber(headers, "x-etcd-index");
    if (status === 200) {
      this.#hasBegun = true;
      this.#outageSinceMs = undefined;
      if (this.#waitIndex === 0) this.#waitIndex = storeIndex + 1;
    }
    const answer: ReadAnswer = { status, headers, endpoint, body: await head.text() };
    if (status !== 200) throw refusal(answer);
    // A member that stops ends its waits, with an empty or an incomplete answer.
    if (answer.body.trim() === "") return undefined;
    const { action, node, prevNode } = event(answer);
    this.#waitIndex = node.modifiedIndex + 1;
    return {
      kind: "event",
      action,
      node,
      ...(prevNode === undefined ? {} : { prevNode }),
      index: node.modifiedIndex,
      storeIndex,
      endpoint,
    };
  }

  /** @returns undefined if that failed, too */
  async #reread(reason: EventIndexClearedError): Promise<WatchItem | undefined> {
    const { recursive = false, endpoint } = this.#options;
    const query = { recursive, sorted: true, quorum: true };
    const request = keysRequest({ method: "GET", key: this.#key, query });
    try {
      const answer = await this.#cluster.ask(request, { endpoint, signal: this.#signal });
      const { node, index, endpoint: by } = keysAnswer(answer);
      this.#waitIndex = index + 1;
      return { kind: "reset", node, index, endpoint: by, reason };
    } catch (error) {
      if (error instanceof KeyNotFoundError) {
        this.#waitIndex = error.index + 1;
        const { index, endpoint: by } = error;
        return { kind: "reset", node: undefined, index, endpoint: by, reason };
      }
      this.#noteOutage(error);
      return undefined;
    }
  }

  /** @throws the error if it is none to wait out */
  #noteOutage(error: unknown): void {
    if (!(error instanceof UnavailableError) || !this.#hasBegun) throw error;
    const nowMs = performance.now();
    this.#outageSinceMs ??= nowMs;
    if (nowMs - this.#outageSinceMs > (this.#options.outageMs ?? OUTAGE_MS)) throw error;
  }
}

/** @throws the signal's reason */
function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const end = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    if (signal.aborted) return reject(signal.reason);
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", end);
      resolve();
    }, ms);
    signal.addEventListener("abort", end, { once: true });
  });
}
