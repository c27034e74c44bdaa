import { Body } from "./body.js";
import type { FrontendOptions, Gateway } from "./frontend.js";
import { NO_ROOM, NO_ROOM_BODY } from "./local-responses.js";
import type { ReusedRequest } from "./reused-request.js";
import { resumeSending } from "./uws-backlog.js";
import type { UwsExchange } from "./uws-exchange.js";

/** Reads request bodies, then passes the requests to the gateway. */
export class UwsBodies {
  readonly #gateway: Gateway;
  readonly #options: FrontendOptions;
  readonly #request: ReusedRequest;

  constructor(gateway: Gateway, options: FrontendOptions, request: ReusedRequest) {
    this.#gateway = gateway;
    this.#options = options;
    this.#request = request;
  }

  /** @param largeBytes to admit for a body that does not arrive whole; 0: not large */
  read(
    exchange: UwsExchange,
    path: string,
    query: string,
    contentType: string,
    largeBytes: number,
  ): void {
    let body: Body | undefined; // Undefined: most arrive whole.
    let isRefused = false;
    exchange.res.onData((chunk, isLast) => {
      if (isRefused || exchange.isGone) return; // Its wait may have timed out.
      if (!isLast) {
        if (body === undefined) {
          body = new Body(this.#options.bodyRoom);
          exchange.body = body;
          if (largeBytes > 0) isRefused = !this.#admit(exchange, largeBytes);
          if (isRefused) return;
        }
        // Copy: the chunk is valid until return.
        if (body.add(Buffer.from(new Uint8Array(chunk)))) return;
        isRefused = true;
        this.#refuse(exchange);
        return;
      }
      const last = new Uint8Array(chunk);
      const whole = body === undefined ? last : body.finish(last);
      exchange.large?.whole(whole.length);
      const isTooLarge = body?.isTooLarge ?? whole.length > this.#options.bodyRoom.bodyBytesMax;
      const request = this.#request.begin(exchange.method, path, query, exchange.authorization);
      if (this.#options.needsRemote) request.remote = exchange.remoteAddress;
      request.contentType = contentType;
      request.body = isTooLarge ? undefined : whole; // It may have come in one piece.
      request.isBodyTooLarge = isTooLarge;
      exchange.requestId = this.#gateway.request(exchange, request);
      request.body = undefined; // It may be large: do not keep it alive until the next request.
    });
  }

  /** @returns false if it is rejected */
  #admit(exchange: UwsExchange, bytes: number): boolean {
    const { res } = exchange;
    exchange.large = this.#options.largeRequests.enter(bytes, {
      proceed: () => resumeSending(res),
      refuse: () => {
        resumeSending(res);
        this.#refuse(exchange); // Last: this may close `res`.
      },
    });
    if (exchange.large === undefined) this.#refuse(exchange);
    else if (exchange.large.isWaiting) exchange.pauseBody();
    return exchange.large !== undefined;
  }

  #refuse(exchange: UwsExchange): void {
    exchange.body?.drop();
    this.#options.onTooMany();
    exchange.answer(NO_ROOM, NO_ROOM_BODY);
  }
}
