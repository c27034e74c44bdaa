import type { HttpResponse } from "uWebSockets.js";
import { Method } from "../api/request.js";
import type { Body } from "./body.js";
import type { ChunkBody, Exchange, FrontendOptions, Gateway } from "./frontend.js";
import { statusText } from "./head-text.js";
import type { LargeRequest } from "./large-requests.js";
import type { AnswerRecord } from "./records.js";
import { type Backlogs, StreamBacklog } from "./uws-backlog.js";

/**
 * One request. uWebSockets.js ends the head of a chunked answer only with its first chunk, but a watch
 * must show status and headers before the first event comes. So a watch is framed here: its head goes
 * out with the empty line that ends it, and each event as a chunk of its own. The one call that passes
 * bytes through at this point writes "name: value\r\n", so the ": " in the middle is wrapped into a
 * quoted chunk extension, which every HTTP/1.1 recipient has to skip (RFC 9112, 7.1.1).
 */
export class UwsExchange implements Exchange {
  readonly res: HttpResponse;
  readonly method: Method;
  requestId = -1;
  /** While it comes in. */
  body: Body | undefined;
  large: LargeRequest | undefined;
  readonly #gateway: Gateway;
  readonly #options: FrontendOptions;
  readonly #backlogs: Backlogs;
  readonly #origin: string;
  #isGone = false;
  #isHeld = false;
  /** The head went out without a byte of body: chunks are framed here. */
  #backlog: StreamBacklog | undefined;

  constructor(
    gateway: Gateway,
    options: FrontendOptions,
    backlogs: Backlogs,
    res: HttpResponse,
    method: Method,
    origin: string,
  ) {
    this.#gateway = gateway;
    this.#options = options;
    this.#backlogs = backlogs;
    this.res = res;
    this.method = method;
    this.#origin = origin;
    res.onAborted(() => {
      if (!this.#isGone && this.#backlog?.isStalled) this.#tellSlow(this.#backlog);
      this.#end();
      this.body?.drop();
      if (this.requestId >= 0) this.#gateway.abort(this.requestId);
      else this.large?.leave();
    });
  }

  get isLarge(): boolean {
    return this.large !== undefined;
  }

  get isGone(): boolean {
    return this.#isGone;
  }

  answer(head: AnswerRecord, body: Uint8Array): void {
    this.large?.leave();
    if (this.#isGone) return;
    this.#isGone = true;
    this.res.cork(() => {
      if (this.method === Method.head) {
        // Told the length, `endWithoutBody` would wait for that many bytes and never be done.
        this.#writeHead(head, `Content-Length: ${body.length}\r\n`);
        this.res.endWithoutBody();
        return;
      }
      this.#writeHead(head, "");
      if (head.status === 204) this.res.endWithoutBody();
      else this.res.end(body);
    });
  }

  open(head: AnswerRecord, body: Uint8Array): void {
    if (this.#isGone) return;
    const isFramedHere = body.length === 0;
    this.res.cork(() => {
      this.#writeHead(head, isFramedHere ? framedHeadEnd() : "");
      if (!isFramedHere) this.#write(body);
    });
    if (isFramedHere) this.#backlog = new StreamBacklog(this.res, this.#backlogs);
  }

  chunk(body: ChunkBody, isEnd: boolean): void {
    if (this.#isGone) return;
    const backlog = this.#backlog;
    if (isEnd) this.#end();
    this.res.cork(() => {
      if (backlog !== undefined) this.#writeFramed(body, isEnd);
      else if (isEnd) this.res.end(body.bytes);
      else this.#write(body.bytes);
    });
    if (isEnd || backlog === undefined || backlog.wrote(body.bytes.length)) return;
    this.#tellSlow(backlog);
    this.#end();
    this.res.close(); // The library now says that the request is aborted, and the core hears of it.
  }

  cut(): void {
    if (this.#isGone) return;
    this.#end();
    this.res.close();
  }

  #end(): void {
    this.#isGone = true;
    this.#backlog?.close();
  }

  #tellSlow(backlog: StreamBacklog): void {
    this.#options.onSlowClient(backlog.bytes);
  }

  /** @param last more lines; an empty one ends the head */
  #writeHead(head: AnswerRecord, last: string): void {
    const lines = this.#options.heads.lines(head, this.#origin) + last;
    // One call for the whole head: the library writes "HTTP/1.1 ", this text and a line end.
    this.res.writeStatus(`${statusText(head.status)}\r\n${lines}`.slice(0, -2));
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

/** The library adds Date where it ends a head (RFC 9110, 6.6.1, asks for one); this head ends here. */
function framedHeadEnd(): string {
  return `Date: ${new Date().toUTCString()}\r\nTransfer-Encoding: chunked\r\n\r\n`;
}

const OPEN_QUOTE = Buffer.from('"\r\n');
const LAST_CHUNK = Buffer.from("\r\n0");
