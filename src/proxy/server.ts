import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { Body } from "../frontend/body.js";
import { BODIES_BYTES_MAX, BODY_BYTES_MAX, BodyRoom } from "../frontend/body-room.js";
import type { Frontend, PortSharing } from "../frontend/frontend.js";
import { ListenError } from "../frontend/listen-error.js";
import { NO_ROOM_BODY } from "../frontend/local-responses.js";
import type { NodeTls } from "../frontend/node-http.js";
import type { Protocols, TlsDoor } from "../frontend/tls-door.js";
import { assert } from "../lib/assert.js";
import type { Endpoints } from "./endpoints.js";
import type { Forwarder } from "./forwarder.js";
import type { RawHeaders } from "./headers.js";
import type { ProxyMetrics } from "./metrics.js";

export interface ProxyServerParts {
  readonly forwarder: Forwarder;
  readonly endpoints: Endpoints;
  readonly metrics: ProxyMetrics;
  readonly isReadonly: boolean;
  /** Allowed by CORS; "*" allows all. */
  readonly corsOrigins: readonly string[];
  readonly connectionsMax: number;
  /** For ports that serve https. */
  readonly tls?: NodeTls | undefined;
  /** For the bodies of all requests that no member has answered yet. */
  readonly bodyRoom?: BodyRoom;
}

const CORS_FIXED = [
  ...["Access-Control-Allow-Methods", "POST, GET, OPTIONS, PUT, DELETE"],
  ...["Access-Control-Allow-Headers", "accept, content-type, authorization"],
];
const KEEP_ALIVE_MS = 30_000;
/** Timeout of a request's head. */
const HEAD_MS_MAX = 20_000;
const HEAD_BYTES_MAX = 1024 * 1024;
const CONFIG_PATH = "/v2/config/local/proxy";

/**
 * The client side of a proxy: HTTP by node:http, as the other frontends carry neither all headers
 * to the core nor all headers back.
 */
export class ProxyServer implements Frontend {
  readonly #parts: ProxyServerParts;
  readonly #servers: Server[] = [];
  readonly #doors: TlsDoor[] = [];
  readonly #bodyRoom: BodyRoom;

  constructor(parts: ProxyServerParts) {
    this.#parts = parts;
    this.#bodyRoom = parts.bodyRoom ?? new BodyRoom(BODIES_BYTES_MAX);
  }

  listen(
    host: string,
    port: number,
    _sharing: PortSharing,
    protocols: Protocols = "http",
  ): Promise<number> {
    return this.#listen({ host, port }, `${host}:${port}`, protocols);
  }

  async listenUnix(path: string, protocols: Protocols = "http"): Promise<void> {
    await this.#listen({ path }, path, protocols);
  }

  stopListening(): void {
    for (const server of this.#servers) {
      server.close();
      server.closeIdleConnections();
    }
    for (const door of this.#doors) door.close();
  }

  close(): void {
    for (const server of this.#servers) server.closeAllConnections();
  }

  #listen(
    where: { host: string; port: number } | { path: string },
    name: string,
    protocols: Protocols,
  ): Promise<number> {
    const options = {
      keepAlive: true,
      keepAliveInitialDelay: KEEP_ALIVE_MS,
      keepAliveTimeout: 0, // As in etcd: idle connections stay.
      headersTimeout: HEAD_MS_MAX,
      maxHeaderSize: HEAD_BYTES_MAX,
      requireHostHeader: false,
    };
    const server = createServer(options, (request, response) => {
      this.#handle(request, response).catch(() => response.destroy());
    });
    server.maxConnections = this.#parts.connectionsMax;
    if (protocols !== "http") this.#putDoorBefore(server, protocols);
    this.#servers.push(server);
    return new Promise((resolve, reject) => {
      server.on("error", (error) => reject(new ListenError(name, error.message)));
      server.listen(where, () => {
        const address = server.address();
        resolve(typeof address === "object" && address !== null ? address.port : 0);
      });
    });
  }

  /** Connections reach the server's HTTP after their handshake. */
  #putDoorBefore(server: Server, protocols: Protocols): void {
    const { tls } = this.#parts;
    assert(tls !== undefined, "a proxy that serves https has certificates");
    const listeners = server.listeners("connection");
    server.removeAllListeners("connection");
    const serve = (socket: Socket) => {
      for (const listener of listeners) listener.call(server, socket);
    };
    const plain = protocols === "both" ? serve : undefined;
    const door = tls.openDoor({ plain, secure: serve });
    this.#doors.push(door);
    server.on("connection", (socket) => door.admit(socket));
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { metrics, forwarder, isReadonly } = this.#parts;
    const { method = "GET", url = "/" } = request;
    const [path = ""] = url.replace(/^https?:\/\/[^/?#]*/i, "").split("?", 1);
    if (path === "/metrics") {
      const text = await metrics.render();
      response.writeHead(200, { "Content-Type": metrics.contentType }).end(text);
      return;
    }
    if (isReadonly && method !== "GET") {
      response.writeHead(501, { "Content-Length": 0 }).end();
      return;
    }
    const cors = this.#corsHeaders(request);
    if (method === "OPTIONS") {
      response.writeHead(200, [...cors, "Content-Length", "0"]).end();
      return;
    }
    if (path === CONFIG_PATH) {
      this.#answerConfig(method, response, cors);
      return;
    }
    metrics.incoming(method);
    const body = await readBody(request, this.#bodyRoom);
    if (body === "no room" || (body instanceof Buffer && !this.#keep(body, response))) {
      const length = String(NO_ROOM_BODY.length);
      response.writeHead(500, [
        ...cors,
        ...["Content-Type", "application/json", "Content-Length", length],
      ]);
      response.end(NO_ROOM_BODY);
    } else if (body === "gone") response.destroy();
    else await forwarder.forward(request, response, body, cors);
  }

  /** A body is kept until its response ends. @returns false if there is no room */
  #keep({ length }: Buffer, response: ServerResponse): boolean {
    if (!this.#bodyRoom.take(length)) return false;
    response.once("close", () => this.#bodyRoom.give(length));
    return true;
  }

  #answerConfig(method: string, response: ServerResponse, cors: RawHeaders): void {
    if (method !== "GET") {
      response.writeHead(405, [
        ...cors,
        ...["Allow", "GET", "Content-Type", "text/plain; charset=utf-8"],
        ...["X-Content-Type-Options", "nosniff"],
      ]);
      response.end("Method Not Allowed\n");
      return;
    }
    const endpoints = this.#parts.endpoints.available().map(({ url }) => url);
    response.writeHead(200, [...cors, "Content-Type", "text/plain; charset=utf-8"]);
    response.end(`${JSON.stringify({ endpoints })}\n`);
  }

  #corsHeaders({ headers: { origin } }: IncomingMessage): RawHeaders {
    const { corsOrigins } = this.#parts;
    if (corsOrigins.includes("*")) return [...CORS_FIXED, "Access-Control-Allow-Origin", "*"];
    if (origin === undefined || !corsOrigins.includes(origin)) return [];
    return [...CORS_FIXED, "Access-Control-Allow-Origin", origin];
  }
}

/**
 * Reads a body as a whole. Of one that every member rejects for its size, as much as shows it.
 *
 * @returns undefined if there is none
 */
async function readBody(
  request: IncomingMessage,
  room: BodyRoom,
): Promise<Buffer | undefined | "no room" | "gone"> {
  const { headers } = request;
  const length = headers["content-length"];
  if (length === undefined && headers["transfer-encoding"] === undefined) return undefined;
  const body = new Body(room);
  let rejected: Buffer | "no room" | undefined;
  try {
    // To its end in any case: left early, the connection would stall.
    for await (const part of request as AsyncIterable<Buffer>) {
      if (rejected !== undefined) continue;
      if (!body.add(part)) {
        body.drop();
        rejected = "no room";
      } else if (body.isTooLarge) rejected = Buffer.alloc(BODY_BYTES_MAX + 1);
    }
  } catch {
    body.drop();
    return "gone";
  }
  return rejected ?? (body.finish(Buffer.alloc(0)) as Buffer);
}
