import { assert } from "../lib/assert.js";
import type { ApiRequest } from "../v2/request.js";
import type { ClientRequest } from "./replies.js";

/** Requests that wait, and bytes of them. */
const WAITING_MAX = 4096;
const WAITING_BYTES_MAX = 64 * 2 ** 20;
/** As many as a core takes from a ring in a turn. */
const STEP_REQUESTS_MAX = 128;

export interface WaitingPorts {
  /** Handles a request once more, as its credentials are known now. */
  readonly again: (client: ClientRequest, request: ApiRequest) => void;
  /** Whether the frontend takes responses; requests of its clients wait while it does not. */
  readonly hasRoom: (frontend: number) => boolean;
}

/** A request that waits. */
export interface WaitingRequest {
  readonly client: ClientRequest;
  readonly bytes: number;
  /** Undefined once it does not wait any more. */
  request: ApiRequest | undefined;
}

/** Requests that wait for a comparison of their credentials, and then for room for responses. */
export class WaitingRequests {
  readonly #ports: WaitingPorts;
  /** By frontend and number. */
  readonly #waiting = new Map<string, WaitingRequest>();
  #bytes = 0;
  /** Those whose credentials are known. */
  #ready: WaitingRequest[] = [];

  constructor(ports: WaitingPorts) {
    this.#ports = ports;
  }

  /** @returns undefined if too many wait */
  add(client: ClientRequest, request: ApiRequest): WaitingRequest | undefined {
    const bytes = bytesOf(request);
    if (this.#waiting.size >= WAITING_MAX) return undefined;
    if (this.#bytes + bytes > WAITING_BYTES_MAX && this.#waiting.size > 0) return undefined;
    // Its body is a view that dies with the record.
    const kept = { ...request, body: Buffer.from(request.body) };
    const waiting: WaitingRequest = { client, bytes, request: kept };
    const before = this.#waiting.size;
    this.#waiting.set(keyOf(client), waiting);
    assert(this.#waiting.size === before + 1, "a request waits once");
    this.#bytes += bytes;
    this.#assertInvariants();
    return waiting;
  }

  /** Its credentials are known. */
  known(waiting: WaitingRequest): void {
    if (waiting.request !== undefined) this.#ready.push(waiting);
  }

  /** It does not wait any more. @returns whether it did */
  drop(client: ClientRequest): boolean {
    if (this.#waiting.size === 0) return false;
    const waiting = this.#waiting.get(keyOf(client));
    if (waiting === undefined) return false;
    assert(waiting.request !== undefined, "a request that waits is kept");
    this.#remove(waiting);
    return true;
  }

  /** Whether `step` would do something. */
  hasWork(): boolean {
    return this.#ready.some((waiting) => this.#isDue(waiting));
  }

  /** Handles those that are ready, in their order. */
  step(): void {
    if (this.#ready.length === 0) return;
    const ready = this.#ready;
    this.#ready = [];
    let left = STEP_REQUESTS_MAX;
    for (const waiting of ready) {
      const { client, request } = waiting;
      if (request === undefined) continue;
      if (left > 0 && this.#isDue(waiting)) {
        left--;
        this.#remove(waiting);
        this.#ports.again(client, request);
      } else this.#ready.push(waiting);
    }
  }

  /** One that was dropped is due: it is only forgotten. */
  #isDue({ client, request }: WaitingRequest): boolean {
    return request === undefined || this.#ports.hasRoom(client.frontend);
  }

  #remove(waiting: WaitingRequest): void {
    const isRemoved = this.#waiting.delete(keyOf(waiting.client));
    assert(isRemoved, "a request stops waiting once");
    this.#bytes -= waiting.bytes;
    this.#assertInvariants();
    waiting.request = undefined; // Who was to tell of its credentials may live on.
  }

  #assertInvariants(): void {
    const { size } = this.#waiting;
    assert(size <= WAITING_MAX, "the requests that wait are bounded");
    assert(this.#bytes >= 0, "a request's bytes are counted once");
    assert(size > 0 || this.#bytes === 0, "without requests that wait, none has bytes");
    const isBounded = this.#bytes <= WAITING_BYTES_MAX || size === 1;
    assert(isBounded, "only a request that waits alone may be larger than all may be");
  }
}

function keyOf({ frontend, requestId }: ClientRequest): string {
  return `${frontend} ${requestId}`;
}

function bytesOf({ path, query, contentType, authorization, body }: ApiRequest): number {
  return path.length + query.length + contentType.length + authorization.length + body.length;
}
