import type { HttpRequest, HttpResponse, TemplatedApp, us_listen_socket } from "uWebSockets.js";
import { createRequire } from "node:module";
import { Method } from "../api/request.js";
import {
  BODY_BYTES_MAX,
  type ChunkBody,
  type Exchange,
  type Frontend,
  type Gateway,
} from "./frontend.js";
import { type HeadText, statusText } from "./head-text.js";
import { ListenError } from "./listen-error.js";
import type { AnswerRecord } from "./records.js";

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
  get: Method.get,
  head: Method.head,
  put: Method.put,
  post: Method.post,
  delete: Method.delete,
  options: Method.options,
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

  constructor(uws: Uws, gateway: Gateway, heads: HeadText) {
    this.#uws = uws;
    this.#app = uws.App();
    this.#app.any("/*", (res, req) => serve(gateway, heads, res, req));
  }

  listen(host: string, port: number, isShared: boolean): Promise<number> {
    return new Promise((resolve, reject) => {
      // Not exclusive, a second process could bind the same port and take half of the connections.
      const app = this.#app as unknown as ListenWithOptions;
      app.listen(host, port, isShared ? LISTEN_SHARED : LISTEN_EXCLUSIVE, (socket) => {
        if (!socket) {
          reject(new ListenError(`${host}:${port}`, "address already in use or not available"));
          return;
        }
        this.#listening.push(socket);
        resolve(this.#uws.us_socket_local_port(socket));
      });
    });
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

  stopListening(): void {
    for (const socket of this.#listening.splice(0)) this.#uws.us_listen_socket_close(socket);
  }

  close(): void {
    this.#app.close();
  }
}

function serve(gateway: Gateway, heads: HeadText, res: HttpResponse, req: HttpRequest): void {
  const method = METHOD_OF[req.getMethod()] ?? Method.other;
  const origin = heads.needsOrigin ? req.getHeader("origin") : "";
  const exchange = new UwsExchange(gateway, heads, res, method, origin);
  const path = req.getUrl();
  const query = req.getQuery() ?? "";
  if (method === Method.put || method === Method.post) {
    readBody(gateway, exchange, path, query, req.getHeader("content-type"));
  } else {
    // A body, if any, is no part of the request's meaning; the library reads past it.
    exchange.requestId = gateway.request(exchange, method, path, query, "", undefined, false);
  }
}

function readBody(
  gateway: Gateway,
  exchange: UwsExchange,
  path: string,
  query: string,
  contentType: string,
): void {
  let parts: Buffer[] = [];
  let bytes = 0;
  exchange.res.onData((chunk, isLast) => {
    bytes += chunk.byteLength;
    const isTooLarge = bytes > BODY_BYTES_MAX;
    if (isTooLarge) parts = [];
    if (!isLast) {
      if (!isTooLarge) parts.push(Buffer.from(new Uint8Array(chunk))); // The chunk dies on return.
      return;
    }
    let body = new Uint8Array(chunk);
    if (isTooLarge) body = new Uint8Array(0);
    else if (parts.length > 0) body = Buffer.concat([...parts, body]);
    exchange.requestId = gateway.request(
      exchange,
      exchange.method,
      path,
      query,
      contentType,
      body,
      isTooLarge,
    );
  });
}

/**
 * One request. uWebSockets.js ends the head of a chunked answer only with its first chunk, but a watch
 * must show status and headers before the first event comes. So a watch is framed here: its head goes
 * out with the empty line that ends it, and each event as a chunk of its own. The one call that passes
 * bytes through at this point writes "name: value\r\n", so the ": " in the middle is wrapped into a
 * quoted chunk extension, which every HTTP/1.1 recipient has to skip (RFC 9112, 7.1.1).
 */
class UwsExchange implements Exchange {
  readonly res: HttpResponse;
  readonly method: Method;
  requestId = -1;
  readonly #gateway: Gateway;
  readonly #heads: HeadText;
  readonly #origin: string;
  #isGone = false;
  #isHeld = false;
  /** The head went out without a byte of body: chunks are framed here. */
  #isFramedHere = false;

  constructor(
    gateway: Gateway,
    heads: HeadText,
    res: HttpResponse,
    method: Method,
    origin: string,
  ) {
    this.#gateway = gateway;
    this.#heads = heads;
    this.res = res;
    this.method = method;
    this.#origin = origin;
    res.onAborted(() => {
      this.#isGone = true;
      if (this.requestId >= 0) this.#gateway.abort(this.requestId);
    });
  }

  answer(head: AnswerRecord, body: Uint8Array): void {
    if (this.#isGone) return;
    this.#isGone = true;
    this.res.cork(() => {
      this.#writeHead(head, "");
      if (this.method === Method.head) this.res.endWithoutBody(body.length);
      else if (head.status === 204) this.res.endWithoutBody();
      else this.res.end(body);
    });
  }

  open(head: AnswerRecord, body: Uint8Array): void {
    if (this.#isGone) return;
    this.#isFramedHere = body.length === 0;
    this.res.cork(() => {
      this.#writeHead(head, this.#isFramedHere ? "Transfer-Encoding: chunked\r\n" : "");
      if (!this.#isFramedHere) this.#write(body);
    });
  }

  chunk(body: ChunkBody, isEnd: boolean): void {
    if (this.#isGone) return;
    if (isEnd) this.#isGone = true;
    this.res.cork(() => {
      if (this.#isFramedHere) this.#writeFramed(body, isEnd);
      else if (isEnd) this.res.end(body.bytes);
      else this.#write(body.bytes);
    });
  }

  cut(): void {
    if (this.#isGone) return;
    this.#isGone = true;
    this.res.close();
  }

  #writeHead(head: AnswerRecord, last: string): void {
    const lines = this.#heads.lines(head, this.#origin) + last;
    // One call for all headers: the first name goes in front, the rest is part of its "value".
    this.res.writeStatus(statusText(head.status));
    if (lines === "") return;
    const colon = lines.indexOf(": ");
    const end = last === "" ? lines.length - 2 : lines.length;
    this.res.writeHeader(lines.slice(0, colon), lines.slice(colon + 2, end));
  }

  /** Large listings: tells the core to pause while the client is behind. */
  #write(bytes: Uint8Array): void {
    if (this.res.write(bytes) || this.#isHeld) return;
    this.#isHeld = true;
    this.#gateway.hold(this.requestId);
    this.res.onWritable(() => {
      if (this.#isHeld && !this.#isGone) {
        this.#isHeld = false;
        this.#gateway.resume(this.requestId);
      }
      return true;
    });
  }

  #writeFramed(body: ChunkBody, isEnd: boolean): void {
    const size = body.bytes.length;
    if (isEnd) {
      body.framedLast ??= Buffer.concat([OPEN_QUOTE, body.bytes, LAST_CHUNK]);
      if (size === 0) this.res.writeHeader('0;x="', '"');
      else this.res.writeHeader(`${size.toString(16)};x="`, body.framedLast);
      this.res.endWithoutBody();
    } else {
      body.framed ??= Buffer.concat([OPEN_QUOTE, body.bytes]);
      this.res.writeHeader(`${size.toString(16)};x="`, body.framed);
    }
  }
}

const OPEN_QUOTE = Buffer.from('"\r\n');
const LAST_CHUNK = Buffer.from("\r\n0");
