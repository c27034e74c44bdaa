import type { Socket } from "node:net";
import { createServer, type Server, type TLSSocket } from "node:tls";
import { commonNameOf, rejectionOf } from "../tls/contexts.js";
import { goHandshakeError, goVerifyError, NOT_TLS, TOO_MANY_HANDSHAKES } from "../tls/go-errors.js";
import type { TlsIdentity } from "../tls/identity.js";

/** Timeout for a handshake, from the connection on. */
const HANDSHAKE_MS_MAX = 10_000;
/**
 * Limit of handshakes in flight; the oldest makes room. One takes milliseconds, so those of clients
 * that mean it are done before it is their turn, however many others are left half-open.
 */
const HANDSHAKES_MAX = 1000;
/** The first byte of a TLS record that holds a handshake; no HTTP request begins with it. */
const HANDSHAKE_RECORD = 0x16;

/** What a port serves: http, https, or both, told apart by a connection's first byte. */
export type Protocols = "http" | "https" | "both";

/** A handshake that failed. */
export interface Rejection {
  /** In the words of Go's crypto/tls. */
  readonly why: string;
  /** Address and port. */
  readonly remote: string;
  readonly serverName: string;
}

export interface DoorOptions {
  readonly onRejected: (rejection: Rejection) => void;
  readonly handshakeMsMax?: number;
  readonly handshakesMax?: number;
}

/** Where connections go. A further protocol would be one more of these. */
export interface Rooms {
  /** Undefined: plain HTTP is not served. */
  readonly plain: ((socket: Socket) => void) | undefined;
  /** @param commonName of the client's verified certificate; "" unless it is to be a user */
  readonly secure: (socket: TLSSocket, commonName: string) => void;
}

/** Hands each accepted socket to its protocol, after the handshake of TLS. */
export class TlsDoor {
  readonly #identity: TlsIdentity;
  readonly #rooms: Rooms;
  readonly #options: DoorOptions;
  readonly #server: Server;
  /** Not handed over yet. */
  readonly #waiting = new Set<Socket>();
  /**
   * Of those, until one is rejected: a closed socket has no address, and Node tells of a
   * certificate that it did not accept only then.
   */
  readonly #addresses = new WeakMap<Socket, string>();
  /** Those of `#waiting` with a handshake begun or due, oldest first. */
  readonly #handshakes = new Set<Socket>();

  constructor(identity: TlsIdentity, rooms: Rooms, options: DoorOptions) {
    this.#identity = identity;
    this.#rooms = rooms;
    this.#options = options;
    this.#server = createServer({
      ...identity.serverOptions(),
      ALPNProtocols: ["http/1.1"],
      handshakeTimeout: this.#handshakeMsMax,
    });
    this.#server.on("secureConnection", (socket) => this.#onSecure(socket));
    this.#server.on("tlsClientError", (error, socket) => this.#onFailed(error, socket));
    identity.onChange(() => this.#server.setSecureContext(identity.serverOptions()));
  }

  /** Takes a new connection. Its "close" event still comes on `socket`. */
  admit(socket: Socket): void {
    this.#waiting.add(socket);
    this.#addresses.set(socket, addressOf(socket));
    let timer: NodeJS.Timeout | undefined;
    if (this.#rooms.plain === undefined) {
      this.#beginHandshake(socket);
      timer = setTimeout(() => socket.destroy(), this.#handshakeMsMax);
    }
    socket.once("data", (bytes) => {
      clearTimeout(timer);
      socket.pause();
      socket.unshift(bytes);
      this.#lead(socket, bytes[0] === HANDSHAKE_RECORD);
    });
    socket.on("error", () => undefined); // "close" follows.
    socket.once("end", () => {
      if (this.#waiting.has(socket)) socket.destroy();
    });
    socket.once("close", () => {
      clearTimeout(timer);
      this.#leave(socket);
    });
  }

  /** Closes what has not been handed over. */
  close(): void {
    for (const socket of this.#waiting) socket.destroy();
  }

  get #handshakeMsMax(): number {
    return this.#options.handshakeMsMax ?? HANDSHAKE_MS_MAX;
  }

  #lead(socket: Socket, isHandshake: boolean): void {
    const { plain } = this.#rooms;
    if (isHandshake) {
      this.#beginHandshake(socket);
      this.#server.emit("connection", socket);
    } else if (plain !== undefined) {
      this.#leave(socket);
      plain(socket);
      socket.resume();
    } else {
      // As etcd: closed without an answer.
      this.#reject(socket, NOT_TLS, "");
      socket.destroy();
    }
  }

  #beginHandshake(socket: Socket): void {
    this.#handshakes.add(socket);
    if (this.#handshakes.size <= (this.#options.handshakesMax ?? HANDSHAKES_MAX)) return;
    const [oldest] = this.#handshakes;
    if (oldest === undefined) return;
    this.#reject(oldest, TOO_MANY_HANDSHAKES, "");
    oldest.destroy();
    this.#leave(oldest);
  }

  #onSecure(socket: TLSSocket): void {
    const { settings, material } = this.#identity;
    const raw = rawOf(socket);
    const why = rejectionOf(socket, settings, material);
    if (why !== undefined) {
      this.#reject(raw, why, serverNameOf(socket));
      socket.destroy();
      return;
    }
    this.#leave(raw);
    this.#rooms.secure(socket, settings.takesCommonName ? commonNameOf(socket) : "");
  }

  #onFailed(error: Error, socket: TLSSocket): void {
    const { authorizationError } = socket;
    // Of a certificate that is not accepted, Node says nothing but that it has closed.
    const isVerdict = !("code" in error) || error.code === "ECONNRESET";
    const why =
      isVerdict && authorizationError
        ? goVerifyError(String(authorizationError))
        : goHandshakeError(error);
    this.#reject(rawOf(socket), why, serverNameOf(socket));
    socket.destroy();
  }

  #reject(socket: Socket | undefined, why: string, serverName: string): void {
    if (socket === undefined) return;
    const remote = this.#addresses.get(socket);
    if (remote === undefined) return; // It has its line already.
    this.#addresses.delete(socket);
    this.#options.onRejected({ why, remote, serverName });
  }

  #leave(socket: Socket | undefined): void {
    if (socket === undefined) return;
    this.#waiting.delete(socket);
    this.#handshakes.delete(socket);
  }
}

/** "@" for a unix socket, as in Go. */
function addressOf({ remoteAddress, remotePort }: Socket): string {
  if (remoteAddress === undefined) return "@";
  return remoteAddress.includes(":")
    ? `[${remoteAddress}]:${remotePort}`
    : `${remoteAddress}:${remotePort}`;
}

/** The socket below; Node has no public name for it. */
function rawOf(socket: TLSSocket): Socket | undefined {
  return (socket as { _parent?: Socket })._parent;
}

function serverNameOf(socket: TLSSocket): string {
  const { servername } = socket as { servername?: string | false };
  return servername || "";
}
