import type { FramedRequest } from "../messages/requests.js";
import type { Exchange } from "./frontend.js";

/** Estimated bytes of a request without its body. */
const HEAD_BYTES = 1024;

export interface EarlyRequest {
  readonly id: number;
  readonly exchange: Exchange;
  readonly request: FramedRequest;
}

/** Requests that arrived before the member was ready, up to a number of bytes. */
export class EarlyRequests {
  readonly #bytesMax: number;
  #requests: EarlyRequest[] = [];
  #bytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  hasRoom({ body }: FramedRequest): boolean {
    return this.#bytes + HEAD_BYTES + (body?.length ?? 0) <= this.#bytesMax;
  }

  /** Keeps a copy of the request and its body. */
  add(id: number, exchange: Exchange, request: FramedRequest): void {
    const { method, path, query, contentType, isBodyTooLarge } = request;
    const { authorization, commonName, remote } = request;
    const body = request.body === undefined ? undefined : new Uint8Array(request.body);
    this.#bytes += HEAD_BYTES + (body?.length ?? 0);
    const kept = { method, path, query, contentType, body, isBodyTooLarge };
    const client = { authorization, commonName, remote };
    this.#requests.push({ id, exchange, request: { ...kept, ...client } });
  }

  takeAll(): readonly EarlyRequest[] {
    const all = this.#requests;
    this.#requests = [];
    return all;
  }
}
