import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { METHODS, Method } from "../api/request.js";
import {
  BODY_BYTES_MAX,
  type ChunkBody,
  type Exchange,
  type Frontend,
  type Gateway,
  STREAM_BACKLOG_EVENTS_MAX,
} from "./frontend.js";
import type { HeadText } from "./head-text.js";
import { ListenError } from "./listen-error.js";
import type { AnswerRecord } from "./records.js";

const HEAD_BYTES_MAX = 1024 * 1024;
const KEEP_ALIVE_MS = 30_000;

/** Serves HTTP through node:http: slower than uWebSockets.js, and runs wherever Node does. */
export class NodeFrontend implements Frontend {
  readonly #servers: Server[] = [];
  readonly #onRequest: (request: IncomingMessage, response: ServerResponse) => void;

  constructor(gateway: Gateway, heads: HeadText) {
    this.#onRequest = (request, response) => serve(gateway, heads, request, response);
  }

  listen(host: string, port: number, _isShared: boolean): Promise<number> {
    return this.#listen({ host, port }, `${host}:${port}`);
  }

  async listenUnix(path: string): Promise<void> {
    await this.#listen({ path }, path);
  }

  #listen(where: { host: string; port: number } | { path: string }, name: string): Promise<number> {
    const server = createServer(
      { maxHeaderSize: HEAD_BYTES_MAX, requestTimeout: 0, keepAliveInitialDelay: KEEP_ALIVE_MS },
      this.#onRequest,
    );
    server.keepAliveTimeout = 0;
    this.#servers.push(server);
    return new Promise((resolve, reject) => {
      server.once("error", (error) => reject(new ListenError(name, error.message)));
      server.listen(where, () => {
        const address = server.address();
        resolve(typeof address === "object" && address !== null ? address.port : 0);
      });
    });
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
  heads: HeadText,
  request: IncomingMessage,
  response: ServerResponse,
): void {
  const url = request.url ?? "/";
  const mark = url.indexOf("?");
  const path = mark < 0 ? url : url.slice(0, mark);
  const query = mark < 0 ? "" : url.slice(mark + 1);
  const known = METHODS.indexOf(request.method as (typeof METHODS)[number]);
  const method = (known < 0 ? Method.other : known) as Method;
  const exchange = new NodeExchange(gateway, heads, response, request.headers.origin ?? "");
  const parts: Buffer[] = [];
  let bytes = 0;
  request.on("data", (part: Buffer) => {
    bytes += part.length;
    if (bytes > BODY_BYTES_MAX) parts.length = 0;
    else parts.push(part);
  });
  request.on("end", () => {
    exchange.requestId = gateway.request(
      exchange,
      method,
      path,
      query,
      request.headers["content-type"] ?? "",
      Buffer.concat(parts),
      bytes > BODY_BYTES_MAX,
    );
  });
}

class NodeExchange implements Exchange {
  requestId = -1;
  readonly #gateway: Gateway;
  readonly #heads: HeadText;
  readonly #response: ServerResponse;
  readonly #origin: string;
  #isHeld = false;
  #heldChunks = 0;

  constructor(gateway: Gateway, heads: HeadText, response: ServerResponse, origin: string) {
    this.#gateway = gateway;
    this.#heads = heads;
    this.#response = response;
    this.#origin = origin;
    response.on("close", () => {
      if (!response.writableFinished && this.requestId >= 0) gateway.abort(this.requestId);
    });
    response.on("drain", () => {
      this.#isHeld = false;
      this.#heldChunks = 0;
      gateway.resume(this.requestId);
    });
  }

  answer(head: AnswerRecord, body: Uint8Array): void {
    const headers = this.#headers(head);
    if (head.status !== 204) headers.push("Content-Length", String(body.length));
    this.#response.writeHead(head.status, headers);
    // The bytes are in the ring only until this returns.
    this.#response.end(Buffer.from(body));
  }

  open(head: AnswerRecord, body: Uint8Array): void {
    this.#response.writeHead(head.status, this.#headers(head));
    this.#response.flushHeaders();
    if (body.length > 0) this.#write(Buffer.from(body));
  }

  chunk(body: ChunkBody, isEnd: boolean): void {
    body.framed ??= Buffer.from(body.bytes);
    if (isEnd) this.#response.end(body.framed);
    else this.#write(body.framed);
  }

  cut(): void {
    this.#response.destroy();
  }

  #write(bytes: Buffer): void {
    if (this.#response.write(bytes)) return;
    if (!this.#isHeld) {
      this.#isHeld = true;
      this.#gateway.hold(this.requestId);
    }
    if (++this.#heldChunks > STREAM_BACKLOG_EVENTS_MAX) this.cut();
  }

  #headers(head: AnswerRecord): string[] {
    return this.#heads
      .lines(head, this.#origin)
      .split("\r\n")
      .filter((line) => line !== "")
      .flatMap((line) => {
        const colon = line.indexOf(": ");
        return [line.slice(0, colon), line.slice(colon + 2)];
      });
  }
}
