import type { LocalHandler, LocalRequest } from "../messages/local.js";
import type { FramedRequest, ResponseRecord } from "../messages/requests.js";
import { NOT_FOUND } from "../v2/plain.js";
import type { ChunkBody } from "./chunk-body.js";
import type { CallerTrace, Exchange } from "./frontend.js";
import type { LargeRequest } from "./large-requests.js";
import { answerLater, answerLocally, localHead } from "./local-responses.js";

/** Which requests this frontend serves itself only if the core admits the client. */
export interface Guard {
  isGuarded(path: string): boolean;
}

/**
 * A request that the frontend serves itself if the core says so: the core's refusal is passed on,
 * and its word to go ahead is not.
 */
export class GuardedExchange implements Exchange {
  requestId: number | undefined;
  readonly #exchange: Exchange;
  readonly #request: LocalRequest;
  readonly #local: LocalHandler;

  constructor(exchange: Exchange, request: FramedRequest, local: LocalHandler) {
    this.#exchange = exchange;
    const { method, path, query, body } = request;
    // The request and its body are valid during the call only.
    this.#request = {
      method,
      path,
      query,
      body: body === undefined ? undefined : Buffer.from(body),
    };
    this.#local = local;
  }

  get large(): LargeRequest | undefined {
    return this.#exchange.large;
  }

  get remoteAddress(): string {
    return this.#exchange.remoteAddress;
  }

  get trace(): CallerTrace | undefined {
    return this.#exchange.trace;
  }

  answer(head: ResponseRecord, body: Uint8Array): void {
    if (!head.isForFrontend) {
      this.#exchange.answer(head, body);
      return;
    }
    const local = this.#local(this.#request);
    if (local instanceof Promise) answerLater(this.#exchange, local);
    else if (local !== undefined) answerLocally(this.#exchange, local);
    else {
      const { status, contentKind } = NOT_FOUND.head;
      this.#exchange.answer(localHead(status, contentKind), NOT_FOUND.body);
    }
  }

  open(head: ResponseRecord, body: Uint8Array): void {
    this.#exchange.open(head, body);
  }

  chunk(body: ChunkBody, isEnd: boolean): void {
    this.#exchange.chunk(body, isEnd);
  }

  cut(): void {
    this.#exchange.cut();
  }
}
