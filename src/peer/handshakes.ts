import type { X509Certificate } from "node:crypto";
import type { IncomingMessage, ServerOptions } from "node:http";
import { createServer, type Server } from "node:https";
import type { Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import { ALERT_HEADER, BAD_CERTIFICATE, sayGoodbye } from "../tls/connect.js";
import { certificateOf } from "../tls/contexts.js";
import { goHandshakeError, TIMED_OUT, TOO_MANY_HANDSHAKES } from "../tls/go-errors.js";
import type { TlsIdentity } from "../tls/identity.js";
import { alternativeNames, quoted, whyClientRejected } from "../tls/peer-checks.js";
import { setServerContext } from "../tls/server-context.js";
import type { PeerLog } from "./peer-log.js";

/** Bytes of a rejected connection in which an alert is looked for. */
const LAST_BYTES_MAX = 1024;
/** Limits of names from outside in a log line. */
const NAME_MAX = 256;
const NAMES_MAX = 16;

const REJECTION =
  `HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: ` +
  `${BAD_CERTIFICATE.length + 1}\r\nConnection: close\r\n\r\n${BAD_CERTIFICATE}\n`;

export interface HandshakeLimits {
  /** Limit of handshakes in flight; one more ends the oldest. */
  readonly handshakes: number;
  /** Timeout of a handshake, with the look-up of its certificate's names. */
  readonly handshakeMs: number;
}

/** TLS of the peer port. */
export interface SecurePort {
  readonly identity: TlsIdentity;
  readonly log: PeerLog;
}

interface Pending {
  readonly socket: Socket;
  readonly remote: string;
  readonly key: string;
  readonly timer: NodeJS.Timeout;
}

/**
 * Stands between the handshakes of the peer port and its HTTP: no byte of a request is read before
 * its sender is known to be a member.
 *
 * A handshake costs this thread about a millisecond, in which no heartbeat is sent. The limit of
 * those in flight bounds what one turn of the event loop spends on them, and the oldest, which is
 * the likeliest to be stuck, makes room.
 */
export class Handshakes {
  readonly #port: SecurePort;
  readonly #limits: HandshakeLimits;
  /** By both ends of the connection; in order of arrival. */
  readonly #pending = new Map<string, Pending>();
  /** Rejected connections that are still told so. */
  #leaving = 0;

  constructor(port: SecurePort, limits: HandshakeLimits) {
    this.#port = port;
    this.#limits = limits;
  }

  /** @param options of its HTTP */
  createServer(options: ServerOptions): Server {
    const { identity } = this.#port;
    const server = createServer({
      ...options,
      ...identity.serverOptions(),
      // By `#check`, so that the reason is known and can be told.
      rejectUnauthorized: false,
    });
    const [serve] = server.listeners("secureConnection");
    server.removeAllListeners("secureConnection");
    server.on("connection", (socket) => this.#begin(socket as Socket));
    server.on("tlsClientError", (error, socket) => this.#fail(error, socket));
    server.on("secureConnection", async (socket) => {
      try {
        if (await this.#check(socket)) serve?.call(server, socket);
      } catch (error) {
        // A certificate from outside must not end the thread.
        this.#port.log.error({ err: error }, "cannot check a certificate");
        socket.destroy();
      }
    });
    // Connections that exist are kept.
    const renew = () => setServerContext(server, identity.serverOptions());
    renew();
    identity.onChange(renew);
    return server;
  }

  /** Takes a request by which a member that dialled us says that it rejects our certificate. */
  takesAlert({ headers, socket }: IncomingMessage): boolean {
    if (headers[ALERT_HEADER] === undefined) return false;
    this.#log(remoteOf(socket), BAD_CERTIFICATE, socket as TLSSocket);
    socket.destroy();
    return true;
  }

  close(): void {
    for (const { socket } of this.#pending.values()) socket.destroy();
  }

  #begin(socket: Socket): void {
    const remote = remoteOf(socket);
    if (remote === "") return; // A unix socket: its file decides who may connect.
    const { handshakes, handshakeMs } = this.#limits;
    const [oldest] = this.#pending.values();
    if (oldest !== undefined && this.#pending.size >= handshakes) {
      this.#abort(oldest, TOO_MANY_HANDSHAKES);
    }
    const timer = setTimeout(() => this.#abort(pending, TIMED_OUT), handshakeMs);
    const key = keyOf(socket);
    const pending = { socket, remote, key, timer };
    this.#pending.set(key, pending);
    socket.once("close", () => {
      if (this.#end(key, socket)) this.#log(remote, "EOF");
    });
  }

  #abort({ socket, remote, key }: Pending, why: string): void {
    if (this.#end(key, socket)) this.#log(remote, why);
    socket.destroy();
  }

  /** @returns whether its handshake was in flight */
  #end(key: string, socket?: Socket): boolean {
    const pending = this.#pending.get(key);
    if (pending === undefined || (socket !== undefined && pending.socket !== socket)) return false;
    clearTimeout(pending.timer);
    this.#pending.delete(key);
    return true;
  }

  /** A connection that is gone has no address any more: its "close" is logged. */
  #fail(error: Error, socket: TLSSocket): void {
    const remote = remoteOf(socket);
    if (remote !== "" && this.#end(keyOf(socket)))
      this.#log(remote, goHandshakeError(error), socket);
  }

  async #check(socket: TLSSocket): Promise<boolean> {
    const { settings, material } = this.#port.identity;
    const remote = remoteOf(socket);
    const key = keyOf(socket);
    // Until HTTP has it, an error must not end the thread.
    const onError = () => socket.destroy();
    socket.on("error", onError);
    const why = await whyClientRejected(socket, addressOfRemote(socket), { settings, material });
    if (socket.destroyed) return false;
    this.#end(key);
    if (why === undefined) {
      socket.removeListener("error", onError);
      return true;
    }
    this.#log(remote, why, socket);
    this.#reject(socket, remote);
    return false;
  }

  /** It may have rejected our certificate, too, and say so. */
  #reject(socket: TLSSocket, remote: string): void {
    if (this.#leaving >= this.#limits.handshakes) {
      socket.destroy();
      return;
    }
    this.#leaving++;
    socket.once("close", () => this.#leaving--);
    let last = "";
    socket.on("data", (bytes: Buffer) => {
      if (last.length > LAST_BYTES_MAX) return;
      const isKnown = last.includes(ALERT_HEADER);
      last += bytes.toString("latin1", 0, LAST_BYTES_MAX);
      if (!isKnown && last.includes(ALERT_HEADER)) this.#log(remote, BAD_CERTIFICATE, socket);
    });
    sayGoodbye(socket, REJECTION);
  }

  /** In the words of embed/config.go, logTLSHandshakeFailure. */
  #log(remote: string, error: string, socket?: TLSSocket): void {
    const { servername } = (socket ?? {}) as { servername?: unknown };
    const server = typeof servername === "string" ? servername.slice(0, NAME_MAX) : "";
    const certificate = socket?.destroyed === false ? certificateOf(socket) : undefined;
    this.#port.log.warn(
      `rejected connection from "${remote}" (error ${JSON.stringify(error)}, ` +
        `ServerName ${JSON.stringify(server)}${certificate ? namesIn(certificate) : ""})`,
    );
  }
}

function namesIn(certificate: X509Certificate): string {
  const { dns, ips } = alternativeNames(certificate);
  return `, IPAddresses ${list(ips)}, DNSNames ${list(dns)}`;
}

function list(names: readonly string[]): string {
  return quoted(names.slice(0, NAMES_MAX).map((name) => name.slice(0, NAME_MAX)));
}

/** As Go prints an address; "" for a unix socket, and for one that is gone. */
function remoteOf(socket: Socket): string {
  const address = addressOfRemote(socket);
  if (address === "") return "";
  return `${address.includes(":") ? `[${address}]` : address}:${socket.remotePort}`;
}

/** The same port may be used to dial several of our addresses at once. */
function keyOf(socket: Socket): string {
  return `${remoteOf(socket)} ${socket.localAddress}:${socket.localPort}`;
}

/** IPv4 also where it arrives on a port of both versions. */
function addressOfRemote({ remoteAddress = "" }: Socket): string {
  return remoteAddress.replace(/^::ffff:(?=\d+\.)/, "");
}
