import {
  createServer,
  type IncomingMessage,
  type Server,
  type ServerOptions,
  type ServerResponse,
  STATUS_CODES,
} from "node:http";
import type { Server as SecureServer } from "node:https";
import type { Socket } from "node:net";
import type { ListenUrl } from "../config/urls.js";
import { RingdError } from "../lib/errors.js";
import { bindAddressOf, clearSocketPath } from "../process/bind-address.js";
import { addressOf } from "./address.js";
import type { HandshakeLimits, Handshakes, SecurePort } from "./handshakes.js";
import type { PeerApiResponse } from "./peer-api.js";

const HEAD_BYTES_MAX = 16 * 1024;
const IDLE_MS = 5000;

export interface ListenerLimits extends HandshakeLimits {
  /** Limit of open connections; more are closed at once. */
  readonly connections: number;
  /** Timeout of a request's headers. */
  readonly headMs: number;
}

const LIMITS: ListenerLimits = {
  connections: 512,
  headMs: 5000,
  handshakes: 64,
  handshakeMs: 5000,
};

const NO_PAIR = "KeyFile and CertFile are not presented";

/** Listening on a peer URL failed. */
export class PeerListenError extends RingdError {
  override readonly name = "PeerListenError";
  readonly code = "LISTEN_FAILED";

  constructor(where: string, why: string) {
    super(`Cannot listen for peers on ${where}: ${why}`);
  }
}

export interface PeerRequests {
  /** @param mayContinue sends the "100 Continue" that the client waits for */
  request(
    request: IncomingMessage,
    response: ServerResponse,
    mayContinue: (() => void) | undefined,
  ): void;
  upgrade(request: IncomingMessage, socket: Socket, early: Buffer): void;
}

/** Holds requests until a handler is set, then passes them on. */
class WaitingRequests implements PeerRequests {
  #target: PeerRequests | undefined;
  #waiting: ((target: PeerRequests) => void)[] = [];

  serve(target: PeerRequests): void {
    this.#target = target;
    for (const pass of this.#waiting.splice(0)) pass(target);
  }

  request(...request: Parameters<PeerRequests["request"]>): void {
    this.#pass((target) => target.request(...request));
  }

  upgrade(...upgrade: Parameters<PeerRequests["upgrade"]>): void {
    this.#pass((target) => target.upgrade(...upgrade));
  }

  #pass(call: (target: PeerRequests) => void): void {
    if (this.#target === undefined) this.#waiting.push(call);
    else call(this.#target);
  }
}

/** Listens on the peer URLs. Connections without valid HTTP get an error and are closed here. */
export class PeerListener {
  readonly #servers: (Server | SecureServer)[] = [];
  readonly #requests = new WaitingRequests();
  readonly #limits: ListenerLimits;
  readonly #securePort: SecurePort | undefined;
  #handshakes: Handshakes | undefined;

  /**
   * @param requests omitted by an owner that does not know its identity yet: requests then wait
   *   for `serve`
   * @param securePort for https URLs
   */
  constructor(
    requests?: PeerRequests,
    limits: Partial<ListenerLimits> = {},
    securePort?: SecurePort,
  ) {
    if (requests !== undefined) this.#requests.serve(requests);
    this.#limits = { ...LIMITS, ...limits };
    this.#securePort = securePort;
  }

  serve(requests: PeerRequests): void {
    this.#requests.serve(requests);
  }

  /** @returns the port, 0 for a unix socket. @throws PeerListenError */
  async listen(url: ListenUrl): Promise<number> {
    const { target, isSecure, text } = addressOf(url);
    const where = "path" in target ? target : { ...target, host: await bindAddressOf(target.host) };
    if ("path" in target) {
      const why = await clearSocketPath(target.path);
      if (why !== undefined) throw new PeerListenError(text, why);
    }
    const handshakes = isSecure ? await this.#loadHandshakes(text) : undefined;
    const options = optionsOf(this.#limits);
    const server = handshakes?.createServer(options) ?? createServer(options);
    serveOn(server, handshakes ? this.#withoutAlerts(handshakes) : this.#requests, this.#limits);
    this.#servers.push(server);
    return new Promise((resolve, reject) => {
      server.once("error", (error) => reject(new PeerListenError(text, error.message)));
      server.listen(where, () => {
        const address = server.address();
        resolve(typeof address === "object" && address !== null ? address.port : 0);
      });
    });
  }

  /** Closes all but streams, which belong to their owners. */
  close(): void {
    this.#handshakes?.close();
    for (const server of this.#servers) {
      server.close();
      server.closeAllConnections();
    }
  }

  /** Loads node:tls only here: a member without TLS does not need it. */
  async #loadHandshakes(url: string): Promise<Handshakes> {
    if (this.#securePort === undefined) throw new PeerListenError(url, NO_PAIR);
    const { Handshakes } = await import("./handshakes.js");
    this.#handshakes ??= new Handshakes(this.#securePort, this.#limits);
    return this.#handshakes;
  }

  #withoutAlerts(handshakes: Handshakes): PeerRequests {
    const requests = this.#requests;
    return {
      request: (request, response, mayContinue) => {
        if (!handshakes.takesAlert(request)) requests.request(request, response, mayContinue);
      },
      upgrade: (...upgrade) => requests.upgrade(...upgrade),
    };
  }
}

function optionsOf({ headMs }: ListenerLimits): ServerOptions {
  return {
    maxHeaderSize: HEAD_BYTES_MAX,
    headersTimeout: headMs,
    // A snapshot may take long; the reader of a body watches its progress.
    requestTimeout: 0,
    connectionsCheckingInterval: headMs / 5,
    keepAliveTimeout: IDLE_MS,
    noDelay: true,
    keepAlive: true,
  };
}

function serveOn(
  server: Server | SecureServer,
  requests: PeerRequests,
  limits: ListenerLimits,
): void {
  server.maxConnections = limits.connections;
  server.on("request", (request: IncomingMessage, response: ServerResponse) => {
    requests.request(request, response, undefined);
  });
  server.on("checkContinue", (request: IncomingMessage, response: ServerResponse) => {
    requests.request(request, response, () => response.writeContinue());
  });
  server.on("upgrade", (request: IncomingMessage, socket: Socket, early: Buffer) => {
    socket.on("error", () => socket.destroy());
    requests.upgrade(request, socket, early);
  });
  server.on("clientError", (error: NodeJS.ErrnoException, socket: Socket) => {
    socket.on("error", () => socket.destroy());
    if (!socket.writable || error.code === "ECONNRESET") {
      socket.destroy();
      return;
    }
    const status =
      error.code === "ERR_HTTP_REQUEST_TIMEOUT"
        ? 408
        : error.code === "HPE_HEADER_OVERFLOW"
          ? 431
          : 400;
    answerRaw(socket, { status, headers: {}, body: "" });
  });
}

/** Responds on a bare connection, and closes it. */
export function answerRaw(socket: Socket, { status, headers, body }: PeerApiResponse): void {
  const lines = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ""}`,
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
    `Content-Length: ${Buffer.byteLength(body)}`,
    "Connection: close",
    "",
    body,
  ];
  // Do not wait for the peer to close, nor read any more.
  socket.end(lines.join("\r\n"), () => socket.destroySoon());
}
