import assert from "node:assert/strict";
import { Method } from "#ringd/v2/request.js";
import type { AgreedEvent } from "./member-checks.js";
import { ask, type ClientWorld } from "./member-clients.js";

const RETRY_MS_MAX = 300;
/** Timeout after which a client asks another member: its own may be isolated. */
const PATIENCE_MS = 4000;

interface WatchBody {
  readonly action?: string;
  readonly node?: { readonly key: string; readonly value?: string; readonly modifiedIndex: number };
  readonly errorCode?: number;
  readonly index?: number;
}

/**
 * A client that must see every change below /r, or of one key, once and in order: by long polls,
 * each resuming after the last event, or by a stream while it lasts.
 */
export class SimWatcher {
  readonly #world: ClientWorld;
  readonly #name: string;
  readonly #key: string;
  readonly #isStream: boolean;
  /** All events before this were seen, or are cleared from the history. */
  #nextIndex = 1;
  #lastSeen = 0;
  #isOpen = false;
  #isListening = false;
  #askAtMs = 0;
  #sinceMs = 0;
  #abort = () => {};
  /** Calls of an abandoned request are ignored. */
  #request = 0;
  seen = 0;
  gaps = 0;

  constructor(world: ClientWorld, name: string, key: string, isStream: boolean) {
    this.#world = world;
    this.#name = name;
    this.#key = key;
    this.#isStream = isStream;
  }

  step(): void {
    const nowMs = this.#world.nowMs();
    if (this.#isOpen && nowMs - this.#sinceMs > PATIENCE_MS) {
      this.#abort();
      this.#close();
    }
    if (!this.#isOpen && nowMs >= this.#askAtMs) this.#ask();
  }

  /** Whether all agreed changes have been seen. A stream sees only those while it is open. */
  isComplete(): boolean {
    if (this.#isStream && !this.#isListening) return false;
    return this.#firstFrom(this.#nextIndex) === undefined;
  }

  #ask(): void {
    const request = ++this.#request;
    const isMine = () => request === this.#request;
    const path = this.#key === "" ? "/v2/keys/r" : `/v2/keys/r/${this.#key}`;
    const query = [
      "wait=true",
      this.#key === "" ? "recursive=true" : "",
      this.#isStream ? "stream=true" : `waitIndex=${this.#nextIndex}`,
    ];
    const asked = ask(
      this.#world,
      { method: Method.get, path, query: query.filter((part) => part !== "").join("&") },
      {
        answer: (status, etcdIndex, body) => {
          if (isMine()) this.#answered(status, etcdIndex, body);
        },
        chunk: (body, isEnd) => {
          if (isMine()) this.#told(body, isEnd);
        },
        cut: () => {
          if (isMine()) this.#close();
        },
      },
    );
    if (asked === undefined) return;
    this.#isOpen = true;
    this.#sinceMs = this.#world.nowMs();
    this.#abort = asked.abort;
  }

  #close(): void {
    this.#request++;
    this.#isOpen = false;
    this.#isListening = false;
    this.#askAtMs = this.#world.nowMs() + this.#world.prng.below(RETRY_MS_MAX);
  }

  #answered(status: number, etcdIndex: number, body: string): void {
    if (status === 200) {
      if (!this.#isStream) return;
      // From now on, without earlier events.
      this.#isListening = true;
      this.#nextIndex = etcdIndex + 1;
      this.#lastSeen = 0;
      return;
    }
    const { errorCode, index = 0 } = JSON.parse(body) as WatchBody;
    if (errorCode === 401) {
      this.gaps++;
      this.#nextIndex = index + 1;
    }
    this.#close();
  }

  #told(body: string, isEnd: boolean): void {
    const { action, node } = JSON.parse(body) as WatchBody;
    assert.ok(node !== undefined, `${this.#name} is told of a node`);
    const index = node.modifiedIndex;
    // A stream on the removed key itself gets the event twice, as in etcd.
    if (this.#isStream && this.#key !== "" && index === this.#lastSeen) return;
    const expected = this.#firstFrom(this.#nextIndex);
    assert.ok(
      expected !== undefined,
      `${this.#name}, of "${this.#key}" from ${this.#nextIndex}, is told ${body}`,
    );
    assert.equal(
      index,
      expected.index,
      `${this.#name}, from ${this.#nextIndex}, misses ${expected.text}`,
    );
    assert.equal(action, expected.action, this.#name);
    assert.equal(`/1${node.key}`, expected.path, this.#name);
    if (node.value !== undefined) assert.equal(node.value, expected.value, this.#name);
    this.seen++;
    this.#nextIndex = index + 1;
    this.#lastSeen = index;
    this.#sinceMs = this.#world.nowMs();
    assert.equal(isEnd, !this.#isStream, `${this.#name}: a stream goes on, a poll does not`);
    if (isEnd) {
      this.#close();
      this.#askAtMs = 0;
    }
  }

  #firstFrom(index: number): AgreedEvent | undefined {
    const { events, lastEvent } = this.#world.checks;
    for (let i = index; i <= lastEvent; i++) {
      const event = events.get(i) as AgreedEvent;
      if (!event.isRefresh && this.#concerns(event)) return event;
    }
    return undefined;
  }

  #concerns({ path }: AgreedEvent): boolean {
    return this.#key === "" ? path.startsWith("/1/r/") : path === `/1/r/${this.#key}`;
  }
}
