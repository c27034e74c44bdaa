import type { Exchange } from "./frontend.js";

/** What a request takes beside its body. */
const HEAD_BYTES = 1024;

/** One request, and the call that passes it on. */
export interface EarlyRequest {
  readonly id: number;
  readonly exchange: Exchange;
  readonly request: (exchange: Exchange) => void;
}

/** Requests that came before the member was ready, up to a number of bytes. */
export class EarlyRequests {
  readonly #bytesMax: number;
  #requests: EarlyRequest[] = [];
  #bytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** Counts the body in if it fits. */
  hasRoom(bodyBytes: number): boolean {
    const bytes = this.#bytes + bodyBytes + HEAD_BYTES;
    if (bytes > this.#bytesMax) return false;
    this.#bytes = bytes;
    return true;
  }

  /** @returns the id */
  add(id: number, exchange: Exchange, request: (exchange: Exchange) => void): number {
    this.#requests.push({ id, exchange, request });
    return id;
  }

  takeAll(): readonly EarlyRequest[] {
    const all = this.#requests;
    this.#requests = [];
    return all;
  }
}
