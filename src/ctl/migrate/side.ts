import { setTimeout as sleep } from "node:timers/promises";
import { Client } from "../../client/client.js";
import { Cluster } from "../../client/cluster.js";
import {
  EndpointError,
  KeyExistsError,
  KeyNotFoundError,
  MaybeAppliedError,
  NotADirectoryError,
  NotAFileError,
  TimeoutError,
  UnavailableError,
} from "../../client/errors.js";
import type { ClientOptions } from "../../client/options.js";
import type { KeysAnswer, Node } from "../../client/responses.js";
import { type EventStream, openStream } from "../../client/stream.js";
import { clockAheadMs, type Item, itemOf, itemsBelow } from "./listing.js";

const PAUSE_MS_MIN = 100;
const PAUSE_MS_MAX = 2000;
/** A large directory takes a while to begin. */
const LIST_TIMEOUT_MS = 60_000;

/** What is below a key. */
export interface ScopeListing {
  readonly items: ReadonlyMap<string, Item>;
  /** Of the store when it was read. */
  readonly index: number;
}

/** The source or the target. What fails because no member is reachable is tried again. */
export class Side {
  readonly name: "source" | "target";
  readonly client: Client;
  /** For streams. */
  readonly #cluster: Cluster;
  readonly #signal: AbortSignal;
  readonly #say: (text: string) => void;
  #clockAheadMs = 0;
  #isDown = false;

  /**
   * @param signal ends all attempts
   * @param say told of outages and of their end
   */
  constructor(
    name: "source" | "target",
    options: ClientOptions,
    signal: AbortSignal,
    say: (text: string) => void,
  ) {
    this.name = name;
    this.client = new Client(options);
    this.#cluster = new Cluster(options);
    this.#signal = signal;
    this.#say = say;
  }

  /** One attempt. @throws ClientError */
  first(): Promise<KeysAnswer> {
    return this.client.get("/", { quorum: true, signal: this.#signal });
  }

  async list(key: string): Promise<ScopeListing> {
    return await this.#persist(async () => {
      const beganMs = Date.now();
      try {
        const options = { recursive: true, quorum: true, timeoutMs: LIST_TIMEOUT_MS };
        const { node, index } = await this.client.get(key, { ...options, signal: this.#signal });
        this.setClock(node, (beganMs + Date.now()) / 2);
        return { items: itemsBelow(node), index };
      } catch (error) {
        if (!(error instanceof KeyNotFoundError)) throw error;
        return { items: new Map(), index: error.index };
      }
    });
  }

  /** The store's index. */
  async indexOf(key: string): Promise<number> {
    return await this.#persist(async () => {
      try {
        return (await this.client.get(key, { quorum: true, signal: this.#signal })).index;
      } catch (error) {
        if (error instanceof KeyNotFoundError) return error.index;
        throw error;
      }
    });
  }

  /** One attempt. @throws ClientError */
  async stream(key: string, signal: AbortSignal): Promise<EventStream> {
    return await openStream(this.#cluster, key, signal);
  }

  /** @param localMs when the server rendered it */
  setClock(listing: Node | undefined, localMs: number): void {
    this.#clockAheadMs = clockAheadMs(listing, localMs) ?? this.#clockAheadMs;
  }

  /** Milliseconds until a time by this side's clock. */
  readonly remaining = (expirationMs: number): number =>
    expirationMs - (Date.now() + this.#clockAheadMs);

  /** @returns undefined if there is none */
  async read(key: string): Promise<Item | undefined> {
    return await this.#persist(async () => {
      try {
        const { node } = await this.client.get(key, { quorum: true, signal: this.#signal });
        return itemOf(node);
      } catch (error) {
        if (error instanceof KeyNotFoundError) return undefined;
        throw error;
      }
    });
  }

  /**
   * Writes a file, replacing what is in its way, or a directory with its TTL.
   *
   * @param remaining milliseconds until it expires, asked at each attempt
   */
  async put({ key, isDirectory, value }: Item, remaining?: () => number): Promise<void> {
    await this.#persist(async () => {
      // Rounded up: the source's own expiry comes as an event and is not late.
      const ttl = remaining === undefined ? undefined : Math.ceil(remaining() / 1000);
      if (ttl !== undefined && ttl <= 0) {
        await this.#delete(key);
        return;
      }
      const write = () =>
        isDirectory ? this.#putDirectory(key, ttl) : this.#putFile(key, value, ttl);
      try {
        await write();
      } catch (error) {
        if (!(error instanceof NotADirectoryError)) throw error;
        await this.#removeFilesAbove(key);
        await write();
      }
    });
  }

  /** With all that is in it. */
  async remove(key: string): Promise<void> {
    await this.#persist(() => this.#delete(key));
  }

  async #putFile(key: string, value: string, ttl: number | undefined): Promise<void> {
    const options = { ttl, signal: this.#signal };
    try {
      await this.client.set(key, value, options);
    } catch (error) {
      if (!(error instanceof NotAFileError)) throw error;
      await this.#delete(key);
      await this.client.set(key, value, options);
    }
  }

  async #putDirectory(key: string, ttl: number | undefined): Promise<void> {
    const options = { ttl, signal: this.#signal };
    try {
      await this.client.mkdir(key, options);
    } catch (error) {
      if (!(error instanceof KeyExistsError)) throw error;
      // Replaces a file; an existing directory only gets the TTL.
      await this.client.setDir(key, options).catch(async (reason: unknown) => {
        if (!(reason instanceof NotAFileError)) throw reason;
        await this.client.updateDir(key, options);
      });
    }
  }

  async #delete(key: string): Promise<void> {
    try {
      await this.client.delete(key, { recursive: true, signal: this.#signal });
    } catch (error) {
      if (!(error instanceof KeyNotFoundError || error instanceof NotADirectoryError)) throw error;
    }
  }

  async #removeFilesAbove(key: string): Promise<void> {
    for (let end = key.indexOf("/", 1); end > 0; end = key.indexOf("/", end + 1)) {
      const above = key.slice(0, end);
      const found = await this.read(above);
      if (found?.isDirectory === false) await this.#delete(above);
    }
  }

  async #persist<T>(act: () => Promise<T>): Promise<T> {
    for (let pauseMs = PAUSE_MS_MIN; ; pauseMs = Math.min(2 * pauseMs, PAUSE_MS_MAX)) {
      try {
        const result = await act();
        this.noteUp();
        return result;
      } catch (error) {
        this.noteDown(error);
        await sleep(pauseMs, undefined, { signal: this.#signal });
      }
    }
  }

  /** Says so once. @throws the error unless it is an outage that may end */
  noteDown(error: unknown): void {
    const isOutage =
      error instanceof UnavailableError ||
      error instanceof EndpointError ||
      error instanceof MaybeAppliedError ||
      error instanceof TimeoutError;
    if (!isOutage || this.#signal.aborted) throw error;
    if (!this.#isDown) this.#say(`${this.name} fails, trying again: ${error.message}`);
    this.#isDown = true;
  }

  noteUp(): void {
    if (this.#isDown) this.#say(`${this.name} is back`);
    this.#isDown = false;
  }

  async close(): Promise<void> {
    await Promise.all([this.client.close(), this.#cluster.close()]);
  }
}
