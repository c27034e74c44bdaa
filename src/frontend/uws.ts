import type { HttpRequest, HttpResponse, TemplatedApp, us_listen_socket } from "uWebSockets.js";
import { createRequire } from "node:module";
import { Method } from "../api/request.js";
import { Body, BodyRoom } from "./body.js";
import {
  BODY_BYTES_MAX,
  type Frontend,
  type FrontendOptions,
  type Gateway,
  type PortSharing,
} from "./frontend.js";
import { LARGE_LIMITS, LargeRequests, largeBytes } from "./large-requests.js";
import { ListenError } from "./listen-error.js";
import { BAD_REQUEST, BAD_REQUEST_BODY, NO_ROOM, NO_ROOM_BODY } from "./local-answers.js";
import { Backlogs } from "./uws-backlog.js";
import { calibrate } from "./uws-calibration.js";
import { UwsExchange } from "./uws-exchange.js";

/** LIBUS_LISTEN_DEFAULT and LIBUS_LISTEN_EXCLUSIVE_PORT. */
const LISTEN_SHARED = 0;
const LISTEN_EXCLUSIVE = 1;

/** An overload the library has and its type declarations leave out. */
interface ListenWithOptions {
  listen(
    host: string,
    port: number,
    options: number,
    done: (socket: us_listen_socket | false) => void,
  ): void;
}

type Uws = typeof import("uWebSockets.js");

const METHOD_OF: Readonly<Record<string, Method>> = {
  GET: Method.get,
  HEAD: Method.head,
  PUT: Method.put,
  POST: Method.post,
  DELETE: Method.delete,
  OPTIONS: Method.options,
};

/** Longest head of a request in bytes, as in etcd (Go's http.DefaultMaxHeaderBytes). */
const HEAD_BYTES_MAX = 1024 * 1024;

/**
 * Loads uWebSockets.js.
 *
 * @throws Error where its binary does not load: musl, an older glibc, another processor
 */
export function loadUws(): Uws {
  // Read by the library when it loads; its own limit of 4 KiB is too small for long keys in URLs.
  process.env.UWS_HTTP_MAX_HEADERS_SIZE ??= String(HEAD_BYTES_MAX);
  return createRequire(import.meta.url)("uWebSockets.js") as Uws;
}

/** Serves HTTP through uWebSockets.js. */
export class UwsFrontend implements Frontend {
  readonly #uws: Uws;
  readonly #app: TemplatedApp;
  readonly #listening: us_listen_socket[] = [];
  readonly #options: FrontendOptions;
  #connections = 0;

  /** @throws Error where the library does not work as it should */
  static async create(uws: Uws, gateway: Gateway, options: FrontendOptions): Promise<UwsFrontend> {
    await calibrate(uws);
    return new UwsFrontend(uws, gateway, options);
  }

  private constructor(uws: Uws, gateway: Gateway, options: FrontendOptions) {
    this.#uws = uws;
    this.#options = options;
    this.#app = uws.App();
    this.#app.filter((res, change) => this.#onConnection(res, Number(change)));
    const backlogs = new Backlogs();
    const bodies = new Bodies(gateway, options);
    this.#app.any("/*", (res, req) => serve(gateway, options, backlogs, bodies, res, req));
  }

  async listen(host: string, port: number, sharing: PortSharing): Promise<number> {
    if (sharing === "joins") return this.#keep(await this.#bind(host, port, LISTEN_SHARED));
    // Shared at once, a process that has the port already would go on with half of the connections.
    const alone = await this.#bind(host, port, LISTEN_EXCLUSIVE);
    if (sharing === "alone") return this.#keep(alone);
    const given = this.#uws.us_socket_local_port(alone);
    this.#uws.us_listen_socket_close(alone);
    return this.#keep(await this.#bind(host, given, LISTEN_SHARED));
  }

  #bind(host: string, port: number, option: number): Promise<us_listen_socket> {
    return new Promise((resolve, reject) => {
      const app = this.#app as unknown as ListenWithOptions;
      app.listen(host, port, option, (socket) => {
        if (socket) resolve(socket);
        else {
          reject(new ListenError(`${host}:${port}`, "address already in use or not available"));
        }
      });
    });
  }

  #keep(socket: us_listen_socket): number {
    this.#listening.push(socket);
    return this.#uws.us_socket_local_port(socket);
  }

  listenUnix(path: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#app.listen_unix((socket) => {
        if (!socket) {
          reject(new ListenError(path, "address already in use or not available"));
          return;
        }
        this.#listening.push(socket);
        resolve();
      }, path);
    });
  }

  /** @param change 1 when it opens, -1 when it closes */
  #onConnection(res: HttpResponse, change: number): void {
    this.#connections += change;
    this.#options.onConnection(change);
    if (change < 0 || this.#connections <= this.#options.connectionsMax) return;
    this.#options.onRefused();
    res.close();
  }

  stopListening(): void {
    for (const socket of this.#listening.splice(0)) this.#uws.us_listen_socket_close(socket);
  }

  close(): void {
    this.#app.close();
  }
}

/**
 * The library decodes request targets as UTF-8, so that bytes which are none can no longer be told from
 * one another: such a request is refused, as one with a DEL is, instead of being served with another key.
 * In percent encoding every byte gets through.
 */
const UNTRUE_TARGET = /[\ufffd\x7f]/;

function serve(
  gateway: Gateway,
  options: FrontendOptions,
  backlogs: Backlogs,
  bodies: Bodies,
  res: HttpResponse,
  req: HttpRequest,
): void {
  const method = METHOD_OF[req.getCaseSensitiveMethod()] ?? Method.other;
  const origin = options.heads.needsOrigin ? req.getHeader("origin") : "";
  const exchange = new UwsExchange(gateway, options, backlogs, res, method, origin);
  const path = req.getUrl();
  const query = req.getQuery() ?? "";
  if (UNTRUE_TARGET.test(path) || UNTRUE_TARGET.test(query)) {
    exchange.answer(BAD_REQUEST, BAD_REQUEST_BODY);
    return;
  }
  if (method === Method.put || method === Method.post) {
    const large = largeBytes(req.getHeader("content-length"));
    bodies.read(exchange, path, query, req.getHeader("content-type"), large);
  } else {
    // A body, if any, is no part of the request's meaning; the library reads past it.
    exchange.requestId = gateway.request(exchange, method, path, query, "", undefined, false);
  }
}

/** Reads bodies of requests, and passes the requests on. */
class Bodies {
  readonly #gateway: Gateway;
  readonly #options: FrontendOptions;
  readonly #room: BodyRoom;
  readonly #large: LargeRequests;

  constructor(gateway: Gateway, options: FrontendOptions) {
    this.#gateway = gateway;
    this.#options = options;
    this.#room = new BodyRoom(options.bodiesBytesMax);
    this.#large = new LargeRequests({ ...LARGE_LIMITS, ...options.largeLimits });
  }

  /** @param largeBytes that a body which does not come whole may have; 0: it is not large */
  read(
    exchange: UwsExchange,
    path: string,
    query: string,
    contentType: string,
    largeBytes: number,
  ): void {
    let body: Body | undefined; // Most come whole.
    let isRefused = false;
    exchange.res.onData((chunk, isLast) => {
      if (isRefused) return;
      if (!isLast) {
        if (body === undefined) {
          body = new Body(this.#room);
          exchange.body = body;
          if (largeBytes > 0) isRefused = !this.#admit(exchange, largeBytes);
          if (isRefused) return;
        }
        // The chunk dies on return.
        if (body.add(Buffer.from(new Uint8Array(chunk)))) return;
        isRefused = true;
        this.#refuse(exchange);
        return;
      }
      if (exchange.isGone) return; // It has waited too long.
      const last = new Uint8Array(chunk);
      const whole = body === undefined ? last : body.finish(last);
      const isTooLarge = body?.isTooLarge ?? whole.length > BODY_BYTES_MAX;
      exchange.requestId = this.#gateway.request(
        exchange,
        exchange.method,
        path,
        query,
        contentType,
        whole,
        isTooLarge,
      );
    });
  }

  /** @returns false if it is refused */
  #admit(exchange: UwsExchange, bytes: number): boolean {
    const { res } = exchange;
    exchange.large = this.#large.enter(bytes, {
      proceed: () => res.resume(),
      refuse: () => {
        res.resume(); // Afterwards it may not be touched.
        this.#refuse(exchange);
      },
    });
    if (exchange.large === undefined) this.#refuse(exchange);
    else if (exchange.large.isWaiting) res.pause();
    return exchange.large !== undefined;
  }

  #refuse(exchange: UwsExchange): void {
    exchange.body?.drop();
    this.#options.onTooMany();
    exchange.answer(NO_ROOM, NO_ROOM_BODY);
  }
}
