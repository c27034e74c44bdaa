import { Client, NoAnswerError, type Served } from "../../support/client.js";
import type { Change } from "./history.js";

/** Longer than a round. */
const POLL_MS = 600_000;
const REFUSED_MS = 20;

/** Indexes from `from` to `to`, inclusive, that the member reported as cleared. */
export interface Gap {
  readonly from: number;
  readonly to: number;
}

/** Events seen by one watcher. */
export interface WatchLog {
  readonly name: string;
  readonly changes: Change[];
  readonly gaps: Gap[];
}

interface Body {
  readonly action: string;
  readonly node: { key: string; value?: string; modifiedIndex: number };
  readonly errorCode?: number;
  readonly index: number;
}

/**
 * Follows a directory by long polls, one event each, resuming after the last event, across
 * restarts, partitions and snapshots of its member.
 */
export class Watcher {
  readonly log: WatchLog;
  readonly #client: Client;
  readonly #path: string;
  readonly #abort = new AbortController();
  #next: number;
  #endsWith: string | undefined;

  /** @param from the first index of interest */
  constructor(member: Served, path: string, from: number) {
    this.log = { name: `watcher of ${member.name}`, changes: [], gaps: [] };
    this.#client = new Client(member.clientUrl);
    this.#path = `/v2/keys${path}?wait=true&recursive=true`;
    this.#next = from;
  }

  /** Resolves when the change to `lastKey` was seen. */
  async run(lastKey: string): Promise<void> {
    this.#endsWith = lastKey;
    while (!this.#abort.signal.aborted && this.log.changes.at(-1)?.key !== this.#endsWith) {
      await this.#poll();
    }
    this.#client.close();
  }

  stop(): void {
    this.#abort.abort();
  }

  async #poll(): Promise<void> {
    try {
      const path = `${this.#path}&waitIndex=${this.#next}`;
      const { signal } = this.#abort;
      const answer = await this.#client.call("GET", path, { timeoutMs: POLL_MS, signal });
      // A member that stops ends its polls without an event, or with an error.
      if (answer.body === "" || answer.status >= 500) return this.#pause();
      const { action, node, errorCode, index } = JSON.parse(answer.body) as Body;
      if (errorCode === 401) {
        this.log.gaps.push({ from: this.#next, to: index });
        this.#next = index + 1;
      } else if (errorCode !== undefined) {
        throw new Error(`${this.log.name}: ${answer.status} ${answer.body}`);
      } else {
        const { key, value = null, modifiedIndex } = node;
        this.log.changes.push({ index: modifiedIndex, action, key, value });
        this.#next = modifiedIndex + 1;
      }
    } catch (error) {
      if (!(error instanceof NoAnswerError)) throw error;
      if (!error.isSent) await this.#pause();
    }
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve, REFUSED_MS));
  }
}
