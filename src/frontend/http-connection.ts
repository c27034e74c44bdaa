import type { Socket } from "node:net";
import { TLSSocket } from "node:tls";
import { Method, methodOf } from "../v2/request.js";
import { Body } from "./body.js";
import { ByteQueue } from "./byte-queue.js";
import { type FrontendOptions, type Gateway, HEAD_BYTES_MAX } from "./frontend.js";
import { statusText } from "./head-text.js";
import { type BodyDecoder, ChunkedBody, SizedBody } from "./http-body.js";
import { httpDate, NodeExchange, type Wire } from "./http-exchange.js";
import {
  findHeadEnd,
  leadingBlanks,
  mayBecomeHead,
  parseHead,
  type RequestHead,
} from "./http-head.js";
import { largeBytes } from "./large-requests.js";
import { answerMisdirected, NO_ROOM, NO_ROOM_BODY } from "./local-responses.js";
import type { ReusedRequest } from "./reused-request.js";

/** Go's slack beyond the limit of request line and headers. */
const HEAD_SLACK_BYTES = 4096;
/** Bytes a client may send ahead of a pending response before its socket is paused. */
const AHEAD_BYTES_MAX = 64 * 1024;
/**
 * A client that reads nothing of its pending output is disconnected after one or two of these
 * intervals: Node checks once per interval for progress since its last check.
 */
const STALL_MS = 6000;
/**
 * Time for the client to close first: bytes that arrive after our close reset the connection, and
 * the client may lose a response that it has not read yet.
 */
const LINGER_MS = 500;

const NO_BYTES = new Uint8Array(0);
const CONTINUE = "HTTP/1.1 100 Continue\r\n\r\n";

/** Shared by the connections of one frontend. */
export interface Shared {
  readonly gateway: Gateway;
  readonly options: FrontendOptions;
  readonly request: ReusedRequest;
  /** Timeout for the headers of a request, from its first byte, and for silence in a large body. */
  readonly headMsMax: number;
  /** Serve no further requests. */
  isStopping: boolean;
}

/**
 * One client connection: requests are served one at a time, in order, as by Go's net/http. It may
 * be idle between two requests for as long as the client likes.
 *
 * A client that has closed its sending side (`printf ... | nc -N`) still gets all responses; a
 * watch ends, as in etcd, as such a client looks like one that has disconnected.
 */
export class HttpConnection implements Wire {
  readonly #socket: Socket;
  readonly #shared: Shared;
  readonly #input = new ByteQueue();
  /** Bytes of `#input` already searched for the end of the headers. */
  #searched = 0;
  #bodyTimer: NodeJS.Timeout | undefined;
  #headTimer: NodeJS.Timeout | undefined;
  /** Of the request whose body is incoming. */
  #decoder: BodyDecoder | undefined;
  #body: Body | undefined;
  /** Receives the body; undefined if it is skipped. */
  #onBody: ((body: Body) => void) | undefined;
  #exchange: NodeExchange | undefined;
  #isAdvancing = false;
  /** The client has closed its sending side. */
  #hasEnded = false;
  /** Further input is ignored. */
  #isDeaf = false;
  #isFinished = false;
  #hasRequested = false;
  #whyUnserved = "no_request";

  /** Of the client's verified certificate, latin1 bytes; "" without one that names a user. */
  readonly #commonName: string;

  constructor(socket: Socket, shared: Shared, commonName = "") {
    this.#socket = socket;
    this.#shared = shared;
    this.#commonName = Buffer.from(commonName).toString("latin1");
    socket.on("data", (chunk) => this.#onData(chunk));
    socket.on("end", () => this.#onEnd());
    socket.on("drain", () => this.#onDrain());
    socket.on("timeout", () => this.#onStall());
    socket.on("error", () => undefined); // "close" follows.
    socket.on("close", () => this.#onClose());
  }

  get remoteAddress(): string {
    return this.#socket.remoteAddress ?? "";
  }

  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /** The frontend stops: an idle connection closes now, another one after its response. */
  stop(): void {
    if (this.#exchange === undefined && this.#decoder === undefined) this.#finish();
  }

  write(bytes: Buffer | string): boolean {
    if (this.#socket.destroyed || this.#socket.write(bytes, "latin1")) return true;
    this.#socket.setTimeout(STALL_MS);
    return false;
  }

  get backlogBytes(): number {
    return this.#socket.writableLength;
  }

  cut(): void {
    this.#socket.destroy();
  }

  cutSlow(): void {
    this.#shared.options.onSlowClient(this.#socket.writableLength);
    this.#socket.destroy();
  }

  /** While a socket is paused, nobody notices that its client has gone: not for ever, then. */
  onWatch(): void {
    if (this.#input.length > AHEAD_BYTES_MAX) this.cut();
  }

  /** The response of `exchange` has been written. */
  onAnswered(exchange: NodeExchange): void {
    this.#exchange = undefined;
    if (exchange.isLast || this.#isDeaf || this.#shared.isStopping) this.#finish();
    else this.#advance();
  }

  #onData(chunk: Buffer): void {
    if (this.#isDeaf) return;
    this.#input.append(chunk);
    this.#bodyTimer?.refresh();
    this.#advance();
    if (this.#input.length <= AHEAD_BYTES_MAX || !this.#isBusy) return;
    this.#socket.pause();
    if (this.#exchange?.isWatch === true) this.onWatch();
  }

  #onEnd(): void {
    this.#hasEnded = true;
    this.#exchange?.onClientEnded();
    this.#advance();
  }

  #onDrain(): void {
    this.#socket.setTimeout(0);
    this.#exchange?.onDrain();
    this.#advance();
  }

  #onStall(): void {
    if (this.#socket.writableLength > 0) this.cutSlow();
  }

  #onClose(): void {
    clearTimeout(this.#headTimer);
    this.#stopBodyTimer();
    this.#isDeaf = true;
    this.#input.clear();
    this.#body?.drop();
    this.#exchange?.onGone();
    if (!this.#hasRequested) this.#shared.options.onUnserved?.(this.#whyUnserved);
  }

  /** The next request waits for the response to this one, or for the client to read it. */
  get #isBusy(): boolean {
    return this.#exchange !== undefined || this.#socket.writableNeedDrain;
  }

  #advance(): void {
    if (this.#isAdvancing) return; // A response within `request`: the outer call continues.
    this.#isAdvancing = true;
    while (this.#step());
    this.#isAdvancing = false;
  }

  /** @returns whether there may be more to do */
  #step(): boolean {
    if (this.#isDeaf || this.#exchange?.large?.isWaiting === true) return false;
    if (this.#decoder !== undefined) return this.#readBody(this.#decoder);
    if (this.#isBusy) return false;
    if (this.#socket.isPaused()) this.#socket.resume();
    return this.#readHead();
  }

  #readHead(): boolean {
    const input = this.#input;
    if (this.#searched === 0) input.skip(leadingBlanks(input.view));
    const bytes = input.view;
    const end = findHeadEnd(bytes, this.#searched);
    const { headBytesMax = HEAD_BYTES_MAX } = this.#shared.options;
    if ((end < 0 ? bytes.length : end) > headBytesMax + HEAD_SLACK_BYTES) {
      this.#shared.options.onHeadTooLong?.();
      this.#refuse(431, "too long");
    } else if (end < 0 && !mayBecomeHead(bytes)) {
      this.#refuse(400, "malformed request line");
    } else if (end < 0) {
      this.#searched = -1 - end;
      this.#awaitHead();
    } else {
      clearTimeout(this.#headTimer);
      this.#headTimer = undefined;
      this.#searched = 0;
      input.skip(end);
      const { needsTrace } = this.#shared.options;
      const head = parseHead(bytes.latin1Slice(0, end), needsTrace);
      if (!("status" in head)) {
        this.#begin(head);
        return true;
      }
      this.#refuse(head.status, head.why);
    }
    return false;
  }

  #awaitHead(): void {
    const isAtRest = this.#input.length === 0;
    if (this.#hasEnded) {
      if (isAtRest) this.#finish();
      else this.#refuse(400, "incomplete");
    } else if (!isAtRest) {
      this.#headTimer ??= setTimeout(() => {
        this.#whyUnserved = "timeout";
        this.#refuse(408, "incomplete");
      }, this.#shared.headMsMax);
    }
  }

  #begin(head: RequestHead): void {
    const { gateway, options, request } = this.#shared;
    this.#hasRequested = true;
    const method = methodOf(head.method);
    const isHead = method === Method.head;
    const exchange = new NodeExchange(this, gateway, options, head, isHead);
    this.#exchange = exchange;
    const send = (contentType: string, body: Body | undefined) => {
      this.#stopBodyTimer();
      const whole = body?.finish(NO_BYTES);
      // First: it may let another connection send its request, which is the same object.
      exchange.large?.whole(whole?.length ?? 0);
      request.begin(method, head.path, head.query, head.authorization);
      request.commonName = this.#commonName;
      if (options.needsRemote) request.remote = this.remoteAddress;
      request.contentType = contentType;
      request.body = whole;
      request.isBodyTooLarge = body?.isTooLarge ?? false;
      exchange.requestId = gateway.request(exchange, request);
      request.body = undefined; // It may be large: do not keep it alive until the next request.
    };
    const { length, contentType } = head;
    if (length !== 0)
      this.#decoder = length === "chunked" ? new ChunkedBody() : new SizedBody(length);
    // Other methods ignore bodies: as in etcd they are served before the body has arrived.
    const takesBody = method === Method.put || method === Method.post;
    this.#onBody = undefined;
    // The name in its certificate already proves who is meant.
    const isSecure = this.#socket instanceof TLSSocket;
    const misdirected = isSecure ? undefined : options.hosts?.refusal(head.host);
    if (misdirected !== undefined) {
      options.onMisdirected?.(head.host);
      if (head.expectsContinue) exchange.endConnection(); // The body is never requested.
      answerMisdirected(exchange, misdirected);
      return;
    }
    if (!takesBody) {
      if (head.expectsContinue) exchange.endConnection(); // The body is never requested.
      send("", undefined);
    } else if (length === 0) send(contentType, new Body(options.bodyRoom));
    else {
      this.#body = new Body(options.bodyRoom);
      this.#onBody = (body) => send(contentType, body);
      this.#admit(exchange, head);
    }
  }

  /**
   * A large body is requested and read once it is admitted; until then it stays with the client.
   */
  #admit(exchange: NodeExchange, { length, expectsContinue }: RequestHead): void {
    const proceed = () => {
      if (expectsContinue) this.write(CONTINUE);
    };
    const bytes = largeBytes(length === "chunked" ? undefined : length);
    if (bytes === 0) {
      proceed();
      return;
    }
    const refuse = () => {
      if (expectsContinue) exchange.endConnection(); // The client may still send the body, or not.
      this.#socket.resume();
      this.#refuseBody();
    };
    exchange.large = this.#shared.options.largeRequests.enter(bytes, {
      proceed: () => {
        proceed();
        this.#startBodyTimer();
        this.#socket.resume();
        this.#advance();
      },
      refuse,
    });
    if (exchange.large === undefined) refuse();
    else if (exchange.large.isWaiting) this.#socket.pause();
    else {
      proceed();
      this.#startBodyTimer();
    }
  }

  /** A large body holds room that others wait for, so its client must make progress. */
  #startBodyTimer(): void {
    this.#bodyTimer = setTimeout(
      () => this.#abandonBody(408, "incomplete"),
      this.#shared.headMsMax,
    );
  }

  #stopBodyTimer(): void {
    clearTimeout(this.#bodyTimer);
    this.#bodyTimer = undefined;
  }

  /** The gateway does not know the request yet. */
  #abandonBody(status: number, why: string): void {
    this.#stopBodyTimer();
    this.#body?.drop();
    this.#body = undefined;
    this.#onBody = undefined;
    this.#decoder = undefined;
    this.#exchange?.onGone();
    this.#exchange = undefined;
    this.#refuse(status, why);
  }

  #readBody(decoder: BodyDecoder): boolean {
    const outcome = decoder.decode(this.#input, (part) => this.#onPart(part));
    if (outcome === "more" && !this.#hasEnded) return false;
    if (outcome !== "done" && this.#onBody !== undefined) {
      this.#abandonBody(400, "malformed body");
      return false;
    }
    this.#decoder = undefined;
    const body = this.#body;
    const onBody = this.#onBody;
    this.#body = undefined;
    this.#onBody = undefined;
    if (outcome === "done") {
      if (body !== undefined) onBody?.(body);
      return true;
    }
    body?.drop();
    if (this.#exchange !== undefined) this.#isDeaf = true;
    else this.#finish();
    return false;
  }

  #onPart(part: Buffer): void {
    if (this.#body === undefined || this.#onBody === undefined || this.#body.add(part)) return;
    this.#refuseBody();
  }

  /** Too much is in flight: the rest of the body is skipped. */
  #refuseBody(): void {
    this.#stopBodyTimer();
    this.#body?.drop();
    this.#onBody = undefined;
    this.#shared.options.onTooMany();
    this.#exchange?.answer(NO_ROOM, NO_ROOM_BODY);
  }

  #refuse(status: number, why: string): void {
    const body = `${statusText(status)}: ${why}`;
    if (!this.#hasRequested && status !== 408) this.#whyUnserved = "bad_request";
    this.write(
      `HTTP/1.1 ${statusText(status)}\r\nContent-Type: text/plain; charset=utf-8\r\nDate: ${httpDate()}\r\n` +
        `Content-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`,
    );
    this.#finish();
  }

  /** Closes once all output has been sent. */
  #finish(): void {
    if (this.#isFinished) return;
    this.#isFinished = true;
    this.#isDeaf = true;
    clearTimeout(this.#headTimer);
    this.#input.clear();
    const socket = this.#socket;
    if (socket.writableLength > 0) socket.setTimeout(STALL_MS);
    socket.end(() => {
      socket.setTimeout(0);
      if (!this.#hasEnded) {
        const timer = setTimeout(() => socket.destroy(), LINGER_MS);
        socket.once("close", () => clearTimeout(timer));
      }
    });
    socket.resume();
  }
}
