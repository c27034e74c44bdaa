import type { ResponseRecord } from "../messages/requests.js";
import type { ChunkBody } from "./chunk-body.js";
import {
  type CallerTrace,
  type Exchange,
  type FrontendOptions,
  type Gateway,
  STREAM_BACKLOG_BYTES_MAX,
} from "./frontend.js";
import { statusText } from "./head-text.js";
import type { RequestHead } from "./http-head.js";
import type { LargeRequest } from "./large-requests.js";

/** The connection that a request came on. */
export interface Wire {
  /** The client has closed its sending side. */
  readonly hasEnded: boolean;
  /** Written and not yet accepted by the kernel. */
  readonly backlogBytes: number;
  /** The client's; "" if it has disconnected, or on a unix socket. */
  readonly remoteAddress: string;
  /** @returns false if the client lags; `onDrain` follows when it has caught up */
  write(bytes: Buffer): boolean;
  /** The response has become a watch, which may last for ever. */
  onWatch(): void;
  /** The whole response has been written. */
  onAnswered(exchange: NodeExchange): void;
  /** Closes the connection at once. */
  cut(): void;
  /** The same, because the client reads too slowly. */
  cutSlow(): void;
}

/** How long a client may take to read what was written at once. */
const BURST_MS = 1000;
const LAST_CHUNK = Buffer.from("0\r\n\r\n");

/**
 * One request on a connection of the node frontend. For HTTP/1.0, a response of unknown length is
 * not chunked and ends with the connection.
 */
export class NodeExchange implements Exchange {
  requestId: number | undefined;
  large: LargeRequest | undefined;
  readonly trace: CallerTrace | undefined;
  readonly #wire: Wire;
  readonly #gateway: Gateway;
  readonly #options: FrontendOptions;
  readonly #origin: string;
  readonly #isHttp10: boolean;
  readonly #isHead: boolean;
  #isLast: boolean;
  #isDone = false;
  #isHeld = false;
  /** Headers are sent, no body yet: an event may come at any time, or never. */
  #isWatch = false;
  /** Of `Backlogs.bytes`: unread bytes of a watch that lags. */
  #countedBytes = 0;
  /** Since then. */
  #laggingMs = 0;

  constructor(
    wire: Wire,
    gateway: Gateway,
    options: FrontendOptions,
    { origin, isHttp10, isLast, trace }: RequestHead,
    isHead: boolean,
  ) {
    this.#wire = wire;
    this.#gateway = gateway;
    this.#options = options;
    this.#origin = origin;
    this.#isHttp10 = isHttp10;
    this.#isHead = isHead;
    this.#isLast = isLast;
    this.trace = trace;
  }

  get remoteAddress(): string {
    return this.#wire.remoteAddress;
  }

  get isWatch(): boolean {
    return this.#isWatch;
  }

  /** The connection closes after this response. */
  get isLast(): boolean {
    return this.#isLast;
  }

  /** Closes the connection after this response, as its further input cannot be delimited. */
  endConnection(): void {
    this.#isLast = true;
  }

  answer(head: ResponseRecord, body: Uint8Array): void {
    this.large?.leave();
    if (this.#isDone) return;
    const text = this.#headText(
      head,
      head.status === 204 ? "" : `Content-Length: ${body.length}\r\n`,
    );
    const bodyBytes = this.#isHead ? 0 : body.length;
    // Copy: `body` is a view of the ring, valid until this returns.
    const bytes = Buffer.allocUnsafe(text.length + bodyBytes);
    bytes.latin1Write(text, 0);
    if (bodyBytes > 0) bytes.set(body, text.length);
    this.#end(bytes);
  }

  open(head: ResponseRecord, body: Uint8Array): void {
    if (this.#isDone) return;
    if (this.#isHttp10) this.#isLast = true;
    const text = this.#headText(head, this.#isHttp10 ? "" : "Transfer-Encoding: chunked\r\n");
    const bytes = Buffer.from(text, "latin1");
    if (body.length > 0) this.#write(Buffer.concat([bytes, this.#framed(body)]));
    else {
      this.#write(bytes);
      this.#isWatch = true;
      this.#wire.onWatch();
      if (this.#wire.hasEnded) this.onClientEnded();
    }
  }

  chunk(body: ChunkBody, isEnd: boolean): void {
    if (this.#isDone) return;
    let bytes: Buffer;
    if (this.#isHttp10) bytes = this.#framedAll(body);
    else {
      body.chunked ??= this.#framedAll(body);
      bytes = body.chunked;
    }
    if (!isEnd) this.#write(bytes);
    else this.#end(this.#isHttp10 ? bytes : Buffer.concat([bytes, LAST_CHUNK]));
  }

  cut(): void {
    this.#wire.cut();
  }

  /** The client has closed its sending side, or disconnected. */
  onClientEnded(): void {
    if (!this.#isWatch) return;
    // An event that was available came along with the headers.
    setImmediate(() => {
      if (this.#isDone) return;
      if (this.requestId !== undefined) this.#gateway.abort(this.requestId);
      this.#end(this.#isHttp10 ? Buffer.alloc(0) : LAST_CHUNK);
    });
  }

  /** The connection has closed. */
  onGone(): void {
    if (this.#isDone) return;
    this.#done();
    if (this.requestId !== undefined) this.#gateway.abort(this.requestId);
    else this.large?.leave();
  }

  onDrain(): void {
    this.#count(0);
    if (!this.#isHeld || this.requestId === undefined) return;
    this.#isHeld = false;
    this.#gateway.resume(this.requestId);
  }

  #framedAll({ earlier, bytes }: ChunkBody): Buffer {
    if (earlier.length === 0) return this.#framed(bytes);
    return Buffer.concat([...earlier, bytes].map((part) => this.#framed(part)));
  }

  /** @returns a copy */
  #framed(body: Uint8Array): Buffer {
    if (this.#isHttp10 || body.length === 0) return Buffer.from(body);
    const size = `${body.length.toString(16)}\r\n`;
    const bytes = Buffer.allocUnsafe(size.length + body.length + 2);
    bytes.latin1Write(size, 0);
    bytes.set(body, size.length);
    bytes.latin1Write("\r\n", size.length + body.length);
    return bytes;
  }

  #write(bytes: Buffer): void {
    if (bytes.length === 0 || this.#wire.write(bytes)) return;
    if (!this.#isHeld && this.requestId !== undefined) {
      this.#isHeld = true;
      this.#gateway.hold(this.requestId);
    }
    const { backlogBytes } = this.#wire;
    if (this.#isWatch) this.#count(backlogBytes);
    if (backlogBytes <= STREAM_BACKLOG_BYTES_MAX && !this.#isOneTooMany) return;
    this.#count(0); // Others may be written to before the connection has closed.
    this.#wire.cutSlow();
  }

  /** All streams have too much unread, and this one does not only lag because of a burst. */
  get #isOneTooMany(): boolean {
    if (!this.#isWatch || !this.#gateway.backlogs.isFull) return false;
    return performance.now() - this.#laggingMs > BURST_MS;
  }

  #count(bytes: number): void {
    if (this.#countedBytes === 0 && bytes > 0) this.#laggingMs = performance.now();
    this.#gateway.backlogs.add(bytes - this.#countedBytes);
    this.#countedBytes = bytes;
  }

  #done(): void {
    this.#isDone = true;
    this.#count(0);
  }

  #end(bytes: Buffer): void {
    this.#done();
    if (bytes.length > 0) this.#wire.write(bytes);
    this.#wire.onAnswered(this);
  }

  #headText(head: ResponseRecord, framing: string): string {
    const version = this.#isHttp10 ? "1.0" : "1.1";
    let connection = "";
    if (this.#isLast !== this.#isHttp10) {
      connection = this.#isLast ? "Connection: close\r\n" : "Connection: keep-alive\r\n";
    }
    const lines = this.#options.heads.lines(head, this.#origin);
    return `HTTP/${version} ${statusText(head.status)}\r\n${lines}Date: ${httpDate()}\r\n${framing}${connection}\r\n`;
  }
}

let dateMs = 0;
let dateText = "";

/** The current time, to the second. */
export function httpDate(): string {
  const now = Date.now();
  if (now - dateMs >= 1000 || now < dateMs) {
    dateMs = now - (now % 1000);
    dateText = new Date(now).toUTCString();
  }
  return dateText;
}
