import type { HttpRequest, HttpResponse, TemplatedApp, us_listen_socket } from "uWebSockets.js";
import { createRequire } from "node:module";
import { Method, methodOf } from "../v2/request.js";
import { addressOfBytes } from "./addresses.js";
import {
  type CallerTrace,
  type Frontend,
  type FrontendOptions,
  type Gateway,
  HEAD_BYTES_MAX,
  type PortSharing,
} from "./frontend.js";
import { largeBytes } from "./large-requests.js";
import { ListenError } from "./listen-error.js";
import {
  answerMisdirected,
  BAD_REQUEST,
  BAD_REQUEST_BODY,
  HEAD_TOO_LONG,
  HEAD_TOO_LONG_BODY,
} from "./local-responses.js";
import { ReusedRequest } from "./reused-request.js";
import { UwsBodies } from "./uws-bodies.js";
import { calibrate } from "./uws-calibration.js";
import { UwsExchange, type UwsShared } from "./uws-exchange.js";
import { framing, hasBody, headBytesOf, hostOf, readFraming } from "./uws-framing.js";
import { UwsHeads } from "./uws-heads.js";
import { testWatches } from "./uws-self-test.js";
import { UnservedCount } from "./uws-unserved.js";
import { STREAM_HANDLES, WATCH_HANDLES, type WatchHandles } from "./uws-watch.js";
import { WatchRegister } from "./uws-watch-register.js";

/** LIBUS_LISTEN_DEFAULT and LIBUS_LISTEN_EXCLUSIVE_PORT. */
const LISTEN_SHARED = 0;
const LISTEN_EXCLUSIVE = 1;

/** An overload of the library that its type declarations lack. */
interface ListenWithOptions {
  listen(
    host: string,
    port: number,
    options: number,
    done: (socket: us_listen_socket | false) => void,
  ): void;
}

type Uws = typeof import("uWebSockets.js");

/**
 * Loads uWebSockets.js.
 *
 * @param headBytesMax limit of request line and headers of this process
 * @throws Error if its binary does not load: musl, an older glibc, another processor
 */
export function loadUws(headBytesMax = HEAD_BYTES_MAX): Uws {
  // Read by the library at load; its default of 4 KiB is too small for long keys in URLs.
  process.env.UWS_HTTP_MAX_HEADERS_SIZE ??= String(headBytesMax);
  return createRequire(import.meta.url)("uWebSockets.js") as Uws;
}

/** Serves HTTP through uWebSockets.js. */
export class UwsFrontend implements Frontend {
  readonly #uws: Uws;
  readonly #app: TemplatedApp;
  readonly #listening: us_listen_socket[] = [];
  readonly #options: FrontendOptions;
  readonly #watches = new WatchRegister();
  readonly #unserved: UnservedCount;
  #connections = 0;
  #isRefusing = false;

  /** @throws Error if the library does not behave as expected */
  static async create(uws: Uws, gateway: Gateway, options: FrontendOptions): Promise<UwsFrontend> {
    await calibrate(uws);
    const quiet = { ...options, onConnection: () => undefined, onUnserved: () => undefined };
    await testWatches((probe) => new UwsFrontend(uws, probe, quiet));
    return new UwsFrontend(uws, gateway, options);
  }

  private constructor(uws: Uws, gateway: Gateway, options: FrontendOptions) {
    this.#uws = uws;
    this.#options = options;
    this.#unserved = new UnservedCount(() => options.onUnserved?.("unknown"));
    this.#app = uws.App();
    this.#app.filter((res, change) => this.#onConnection(res, Number(change)));
    const shared = {
      gateway,
      options,
      backlogs: gateway.backlogs,
      watches: this.#watches,
      unserved: this.#unserved,
      request: new ReusedRequest(),
      heads: new UwsHeads(options.heads),
    };
    this.#route(shared, new UwsBodies(gateway, options, shared.request));
  }

  /**
   * Routes with differently named parameters are different routes, and all match: a possible watch
   * passes one per handle it needs; the first serves any other request.
   */
  #route(shared: UwsShared, bodies: UwsBodies): void {
    let handles: HttpResponse[] | undefined;
    let wanted = 0;
    const collect = (res: HttpResponse, req: HttpRequest) => {
      if (handles === undefined) {
        wanted = handlesFor(req);
        if (wanted === 0) {
          serve(shared, bodies, res, req, undefined);
          return;
        }
        handles = [res];
      } else handles.push(res);
      if (handles.length < wanted) {
        req.setYield(true);
        return;
      }
      const all = handles;
      handles = undefined;
      serve(shared, bodies, all[0] as HttpResponse, req, all);
    };
    for (let n = 0; n < STREAM_HANDLES; n++) this.#app.get(`/:handle${n}/*`, collect);
    this.#app.any("/*", (res, req) => serve(shared, bodies, res, req, undefined));
  }

  async listen(host: string, port: number, sharing: PortSharing): Promise<number> {
    if (sharing === "joins") return this.#keep(await this.#bind(host, port, LISTEN_SHARED));
    // Exclusive first: shared at once, another process on this port would get half of the
    // connections.
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

  /** @param change 1 on open, -1 on close */
  #onConnection(res: HttpResponse, change: number): void {
    this.#connections += change;
    this.#options.onConnection(change);
    if (change < 0) {
      if (!this.#isRefusing) this.#unserved.onClose(res);
      this.#watches.onClose(res); // Moves the write offset, which the former reads.
      return;
    }
    const { connectionsMax, addressLimit } = this.#options;
    const isAbove = this.#connections > connectionsMax;
    if (!isAbove && addressLimit?.admits(addressOfBytes(res.getRemoteAddress())) !== false) return;
    this.#options.onRefused(isAbove ? "all" : "address");
    this.#isRefusing = true;
    res.close();
    this.#isRefusing = false;
  }

  stopListening(): void {
    for (const socket of this.#listening.splice(0)) this.#uws.us_listen_socket_close(socket);
  }

  close(): void {
    this.#watches.clear();
    this.#app.close();
  }
}

/**
 * The library decodes request targets as UTF-8, so invalid bytes become indistinguishable: such
 * requests (and those with a DEL) are rejected instead of served for another key. Percent-encoded,
 * every byte is accepted.
 */
const UNTRUE_TARGET = /[\ufffd\x7f]/;

/**
 * Number of handles for a GET; names in its query may be percent-encoded. None with "Connection:
 * close", where the library closes once it considers the response complete, nor with "Expect",
 * which it answers once per route.
 */
function handlesFor(req: HttpRequest): number {
  let query = req.getQuery();
  if (query === undefined || query === "") return 0;
  if (query.includes("%")) query = query.replace(/%([4-7][0-9a-f])/gi, decodeLetter);
  if (!query.includes("wait")) return 0;
  if (req.getHeader("connection").length === "close".length) return 0;
  if (req.getHeader("expect") !== "") return 0;
  return query.includes("stream") ? STREAM_HANDLES : WATCH_HANDLES;
}

function decodeLetter(_: string, digits: string): string {
  return String.fromCharCode(Number.parseInt(digits, 16));
}

/** Rejects a request for a host that is not in the whitelist, or for several hosts. */
function isMisdirected(
  { hosts, onMisdirected }: FrontendOptions,
  exchange: UwsExchange,
  req: HttpRequest,
): boolean {
  const host = hostOf(req);
  if (host === undefined) {
    exchange.refuse(BAD_REQUEST, BAD_REQUEST_BODY);
    return true;
  }
  const refusal = hosts?.refusal(host);
  if (refusal === undefined) return false;
  onMisdirected?.(host);
  answerMisdirected(exchange, refusal);
  return true;
}

function traceOf(req: HttpRequest): CallerTrace {
  return {
    traceparent: req.getHeader("traceparent"),
    tracestate: req.getHeader("tracestate"),
    requestId: req.getHeader("x-request-id"),
  };
}

/** @param handles given if it may be a watch; `res` is one of them */
function serve(
  shared: UwsShared,
  bodies: UwsBodies,
  res: HttpResponse,
  req: HttpRequest,
  handles: WatchHandles | undefined,
): void {
  const { options } = shared;
  const method = methodOf(req.getCaseSensitiveMethod());
  const origin = options.heads.needsOrigin ? req.getHeader("origin") : "";
  const takesBody = method === Method.put || method === Method.post;
  if (takesBody) readFraming(req);
  const authorization = takesBody ? framing.authorization : req.getHeader("authorization");
  const exchange = new UwsExchange(shared, res, handles, method, origin, authorization);
  if (options.needsTrace) exchange.trace = traceOf(req);
  begin(shared, bodies, exchange, req, handles !== undefined);
  exchange.leaveHandler();
}

function begin(
  { gateway, options, watches, request }: UwsShared,
  bodies: UwsBodies,
  exchange: UwsExchange,
  req: HttpRequest,
  mayBeWatch: boolean,
): void {
  const { method } = exchange;
  const path = req.getUrl();
  const query = req.getQuery() ?? "";
  const takesBody = method === Method.put || method === Method.post;
  const bringsBody = takesBody || hasBody(req);
  // First: whatever is sent, also to reject it, must not be sent on a watch's connection.
  if ((bringsBody || mayBeWatch) && watches.onBodyRequest()) exchange.check();
  if (bringsBody) {
    if (!takesBody) readFraming(req);
    // The library misreads chunk extensions, trailers and wrong line ends: what it takes for the
    // next request may be the rest of this one, so none follows on the connection.
    exchange.isLast = framing.isChunked;
    if (framing.isUnclear) {
      exchange.refuse(BAD_REQUEST, BAD_REQUEST_BODY);
      return;
    }
  }
  const { headBytesMax = HEAD_BYTES_MAX } = options;
  // The library has no limit for a head that arrives in one piece.
  if (headBytesMax < HEAD_BYTES_MAX && headBytesOf(req) > headBytesMax) {
    options.onHeadTooLong?.();
    exchange.refuse(HEAD_TOO_LONG, HEAD_TOO_LONG_BODY);
    return;
  }
  if (UNTRUE_TARGET.test(path) || UNTRUE_TARGET.test(query)) {
    exchange.answer(BAD_REQUEST, BAD_REQUEST_BODY);
    return;
  }
  if (options.hosts !== undefined && isMisdirected(options, exchange, req)) return;
  if (takesBody) {
    const { contentLength, contentType } = framing;
    const large = largeBytes(contentLength === "" ? undefined : Number(contentLength));
    bodies.read(exchange, path, query, contentType, large);
  } else {
    // A body has no meaning here; the library skips it.
    request.begin(method, path, query, exchange.authorization);
    if (options.needsRemote) request.remote = exchange.remoteAddress;
    exchange.requestId = gateway.request(exchange, request);
  }
}
