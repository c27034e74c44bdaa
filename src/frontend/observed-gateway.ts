import { type FramedRequest, ResponseRecord } from "../messages/requests.js";
import type { Backlogs } from "./backlogs.js";
import type { ChunkBody } from "./chunk-body.js";
import type { CallerTrace, Exchange, Gateway } from "./frontend.js";
import type { LargeRequest } from "./large-requests.js";

/** Follows one request. After `answered` or `gone` nothing more is told. */
export interface Observation {
  /** The core knows it by this number. */
  numbered?(requestId: number): void;
  /**
   * The response is complete; of a watch, its headers are sent.
   *
   * @param bytes of the body, without headers and framing
   */
  answered(head: ResponseRecord, bytes: number, isWatch: boolean): void;
  /** The client disconnected before that, or was disconnected. */
  gone(): void;
}

export interface Observer {
  /** @returns undefined for a request that is not followed */
  began(request: FramedRequest, exchange: Exchange): Observation | undefined;
}

/** Lets an observer see each request of a frontend. Only put in between where something is to. */
export class ObservedGateway implements Gateway {
  readonly backlogs: Backlogs;
  readonly #gateway: Gateway;
  readonly #observer: Observer;
  readonly #open = new Map<number, ObservedExchange>();

  constructor(gateway: Gateway, observer: Observer) {
    this.backlogs = gateway.backlogs;
    this.#gateway = gateway;
    this.#observer = observer;
  }

  request(exchange: Exchange, request: FramedRequest): number | undefined {
    const observation = this.#observer.began(request, exchange);
    if (observation === undefined) return this.#gateway.request(exchange, request);
    const observed = new ObservedExchange(exchange, observation, this.#open);
    const id = this.#gateway.request(observed, request);
    if (id !== undefined) observed.number(id);
    return id;
  }

  abort(requestId: number): void {
    this.#open.get(requestId)?.abort();
    this.#gateway.abort(requestId);
  }

  hold(requestId: number): void {
    this.#gateway.hold(requestId);
  }

  resume(requestId: number): void {
    this.#gateway.resume(requestId);
  }
}

class ObservedExchange implements Exchange {
  readonly #exchange: Exchange;
  readonly #open: Map<number, ObservedExchange>;
  /** Undefined once it is over. */
  #observation: Observation | undefined;
  #number = 0;
  /** Of a response in several parts, without its body. */
  #head: ResponseRecord | undefined;
  #bytes = 0;

  constructor(exchange: Exchange, observation: Observation, open: Map<number, ObservedExchange>) {
    this.#exchange = exchange;
    this.#observation = observation;
    this.#open = open;
  }

  get requestId(): number | undefined {
    return this.#exchange.requestId;
  }

  /** Of a request that waited for the member to be ready. */
  set requestId(id: number | undefined) {
    this.#exchange.requestId = id;
    if (id !== undefined) this.number(id);
  }

  number(id: number): void {
    if (this.#observation === undefined) return;
    this.#open.delete(this.#number);
    this.#number = id;
    this.#open.set(id, this);
    this.#observation.numbered?.(id);
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
    this.#end()?.answered(head, body.length, false);
    this.#exchange.answer(head, body);
  }

  open(head: ResponseRecord, body: Uint8Array): void {
    if (body.length === 0) this.#end()?.answered(head, 0, true);
    else {
      this.#head = Object.assign(new ResponseRecord(), head);
      this.#bytes = body.length;
    }
    this.#exchange.open(head, body);
  }

  chunk(body: ChunkBody, isEnd: boolean): void {
    this.#bytes += body.length;
    if (isEnd && this.#head !== undefined) this.#end()?.answered(this.#head, this.#bytes, false);
    this.#exchange.chunk(body, isEnd);
  }

  cut(): void {
    this.abort();
    this.#exchange.cut();
  }

  abort(): void {
    this.#end()?.gone();
  }

  #end(): Observation | undefined {
    const observation = this.#observation;
    this.#observation = undefined;
    this.#open.delete(this.#number);
    return observation;
  }
}
