import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import { METHODS, Method } from "../api/request.js";
import { Body, BodyRoom } from "./body.js";
import {
  type ChunkBody,
  type Exchange,
  type Frontend,
  type FrontendOptions,
  type Gateway,
  type PortSharing,
  STREAM_BACKLOG_BYTES_MAX,
} from "./frontend.js";
import { LARGE_LIMITS, type LargeRequest, LargeRequests, largeBytes } from "./large-requests.js";
import { ListenError } from "./listen-error.js";
import { NO_ROOM, NO_ROOM_BODY } from "./local-answers.js";
import type { AnswerRecord } from "./records.js";

const HEAD_BYTES_MAX = 1024 * 1024;
/** How long a client may take to send the head of a request, and how often that is looked at. */
const HEAD_MS_MAX = 10_000;
const HEAD_CHECK_MS = 2000;
/**
 * A client that takes nothing of what waits for it is cut off after once or twice this time: Node looks
 * each time whether there was any progress since it looked last.
 */
const STALL_MS = 6000;
/** Peers that vanished without a word are noticed after some multiple of this. */
const KEEP_ALIVE_MS = 30_000;

/** Of requests through a forward proxy (RFC 9112, 3.2.2); only the target's path counts here. */
const ABSOLUTE_FORM = /^[a-z][a-z0-9+.-]*:\/\/[^/?]*/i;

/** node:http hands these out without an answer of its own; no path here is to be tunnelled to. */
const NO_TUNNEL =
  "HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/** Serves HTTP through node:http: slower than uWebSockets.js, and runs wherever Node does. */
export class NodeFrontend implements Frontend {
  readonly #servers: Server[] = [];
  readonly #limits: FrontendOptions;
  #connections = 0;
  readonly #onRequest: (request: IncomingMessage, response: ServerResponse) => void;

  constructor(gateway: Gateway, options: FrontendOptions) {
    this.#limits = options;
    const room = new BodyRoom(options.bodiesBytesMax);
    const large = new LargeRequests({ ...LARGE_LIMITS, ...options.largeLimits });
    this.#onRequest = (request, response) => {
      serve(gateway, options, room, large, request, response);
    };
  }

  listen(host: string, port: number, _sharing: PortSharing): Promise<number> {
    return this.#listen({ host, port }, `${host}:${port}`);
  }

  async listenUnix(path: string): Promise<void> {
    await this.#listen({ path }, path);
  }

  #listen(where: { host: string; port: number } | { path: string }, name: string): Promise<number> {
    const server = createServer(
      {
        maxHeaderSize: HEAD_BYTES_MAX,
        headersTimeout: HEAD_MS_MAX,
        connectionsCheckingInterval: HEAD_CHECK_MS,
        requestTimeout: 0,
        keepAlive: true,
        keepAliveInitialDelay: KEEP_ALIVE_MS,
        noDelay: true,
      },
      this.#onRequest,
    );
    server.keepAliveTimeout = 0;
    server.on("connection", (socket) => this.#onConnection(socket));
    server.on("connect", (_request, socket: Duplex) => socket.end(NO_TUNNEL));
    this.#servers.push(server);
    return new Promise((resolve, reject) => {
      server.once("error", (error) => reject(new ListenError(name, error.message)));
      server.listen(where, () => {
        const address = server.address();
        resolve(typeof address === "object" && address !== null ? address.port : 0);
      });
    });
  }

  #onConnection(socket: Duplex): void {
    this.#connections++;
    this.#limits.onConnection(1);
    socket.once("close", () => {
      this.#connections--;
      this.#limits.onConnection(-1);
    });
    if (this.#connections <= this.#limits.connectionsMax) return;
    this.#limits.onRefused();
    socket.destroy();
  }

  stopListening(): void {
    for (const server of this.#servers) server.close();
  }

  close(): void {
    for (const server of this.#servers) server.closeAllConnections();
  }
}

function serve(
  gateway: Gateway,
  options: FrontendOptions,
  room: BodyRoom,
  large: LargeRequests,
  request: IncomingMessage,
  response: ServerResponse,
): void {
  const target = (request.url ?? "/").replace(ABSOLUTE_FORM, "") || "/";
  const mark = target.indexOf("?");
  const path = mark < 0 ? target : target.slice(0, mark) || "/";
  const query = mark < 0 ? "" : target.slice(mark + 1);
  const known = METHODS.indexOf(request.method as (typeof METHODS)[number]);
  const method = (known < 0 ? Method.other : known) as Method;
  const exchange = new NodeExchange(gateway, options, response, request.headers.origin ?? "");
  const body = new Body(room);
  let isRefused = false;
  const refuse = () => {
    isRefused = true;
    body.drop();
    options.onTooMany();
    exchange.answer(NO_ROOM, NO_ROOM_BODY);
    request.resume();
  };
  request.on("data", (part: Buffer) => {
    if (!isRefused && !body.add(part)) refuse();
  });
  request.on("close", () => {
    body.drop();
    if (exchange.requestId < 0) exchange.large?.leave();
  });
  request.on("end", () => {
    if (isRefused) return;
    const whole = body.finish(NO_BYTES);
    exchange.requestId = gateway.request(
      exchange,
      method,
      path,
      query,
      request.headers["content-type"] ?? "",
      whole,
      body.isTooLarge,
    );
  });
  const bytes = declaredBytes(request);
  if (bytes === 0) return;
  exchange.large = large.enter(bytes, { proceed: () => request.resume(), refuse });
  if (exchange.large === undefined) refuse();
  else if (exchange.large.isWaiting) request.pause();
}

function declaredBytes({ headers }: IncomingMessage): number {
  const { "content-length": length } = headers;
  if (length === undefined && headers["transfer-encoding"] === undefined) return 0;
  return largeBytes(length ?? "");
}

const NO_BYTES = new Uint8Array(0);

class NodeExchange implements Exchange {
  requestId = -1;
  large: LargeRequest | undefined;
  readonly #gateway: Gateway;
  readonly #options: FrontendOptions;
  readonly #response: ServerResponse;
  readonly #origin: string;
  #isHeld = false;
  #isTimed = false;

  constructor(
    gateway: Gateway,
    options: FrontendOptions,
    response: ServerResponse,
    origin: string,
  ) {
    this.#gateway = gateway;
    this.#options = options;
    this.#response = response;
    this.#origin = origin;
    response.on("close", () => {
      if (!response.writableFinished && this.requestId >= 0) gateway.abort(this.requestId);
    });
    response.on("drain", () => {
      this.#isHeld = false;
      response.setTimeout(0);
      gateway.resume(this.requestId);
    });
  }

  get isLarge(): boolean {
    return this.large !== undefined;
  }

  answer(head: AnswerRecord, body: Uint8Array): void {
    this.large?.leave();
    if (this.#response.destroyed) return;
    const headers = this.#headers(head);
    if (head.status !== 204) headers.push("Content-Length", String(body.length));
    this.#response.writeHead(head.status, headers);
    // The bytes are in the ring only until this returns.
    this.#end(Buffer.from(body));
  }

  open(head: AnswerRecord, body: Uint8Array): void {
    this.#response.writeHead(head.status, this.#headers(head));
    this.#response.flushHeaders();
    if (body.length > 0) this.#write(Buffer.from(body));
  }

  chunk(body: ChunkBody, isEnd: boolean): void {
    body.framed ??= Buffer.from(body.bytes);
    if (isEnd) this.#end(body.framed);
    else this.#write(body.framed);
  }

  cut(): void {
    this.#response.destroy();
  }

  #write(bytes: Buffer): void {
    if (this.#response.destroyed || this.#response.write(bytes)) return;
    if (!this.#isHeld) {
      this.#isHeld = true;
      this.#expectProgress();
      this.#gateway.hold(this.requestId);
    }
    if (this.#response.writableLength > STREAM_BACKLOG_BYTES_MAX) this.#cutSlow();
  }

  #end(bytes: Buffer): void {
    this.#response.end(bytes);
    if (this.#response.writableFinished || this.#response.destroyed) return;
    this.#expectProgress();
    this.#response.once("finish", () => this.#response.setTimeout(0)); // The connection lives on.
  }

  #expectProgress(): void {
    this.#response.setTimeout(STALL_MS);
    if (this.#isTimed) return;
    this.#isTimed = true;
    this.#response.on("timeout", () => this.#cutSlow());
  }

  #cutSlow(): void {
    this.#options.onSlowClient(this.#response.writableLength);
    this.cut();
  }

  #headers(head: AnswerRecord): string[] {
    return this.#options.heads
      .lines(head, this.#origin)
      .split("\r\n")
      .filter((line) => line !== "")
      .flatMap((line) => {
        const colon = line.indexOf(": ");
        return [line.slice(0, colon), line.slice(colon + 2)];
      });
  }
}
