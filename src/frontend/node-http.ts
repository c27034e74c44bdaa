import { createServer, type Server, type Socket } from "node:net";
import { assert } from "../lib/assert.js";
import type { Frontend, FrontendOptions, Gateway, PortSharing } from "./frontend.js";
import { HttpConnection, type Shared } from "./http-connection.js";
import { ListenError } from "./listen-error.js";
import { ReusedRequest } from "./reused-request.js";
import type { Protocols, Rooms, TlsDoor } from "./tls-door.js";

/** Timeout for the headers from their first byte; enough to type them by hand. */
const HEAD_MS_MAX = 20_000;
/** TCP keep-alive: detects vanished clients after some multiple of this. */
const KEEP_ALIVE_MS = 30_000;

/**
 * Serves HTTP over Node's sockets: slower than uWebSockets.js, but runs wherever Node does, and
 * serves every request that etcd serves. `node:http` does not: it rejects unknown methods, bytes
 * above 0x7f in a target, lines that end with LF alone, and two equal Content-Length.
 */
export class NodeFrontend implements Frontend {
  readonly #servers: Server[] = [];
  readonly #connections = new Set<HttpConnection>();
  readonly #shared: Shared;
  readonly #tls: NodeTls | undefined;
  readonly #doors = new Map<Protocols, TlsDoor>();
  /** Handshakes included. */
  #open = 0;

  /** @param tls for ports that serve https */
  constructor(gateway: Gateway, options: FrontendOptions, tls?: NodeTls, headMsMax = HEAD_MS_MAX) {
    this.#shared = { gateway, options, request: new ReusedRequest(), headMsMax, isStopping: false };
    this.#tls = tls;
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

  #listen(
    where: { host: string; port: number } | { path: string },
    name: string,
    protocols: Protocols,
  ): Promise<number> {
    const door = protocols === "http" ? undefined : this.#doorOf(protocols);
    const server = createServer(
      {
        allowHalfOpen: true,
        keepAlive: true,
        keepAliveInitialDelay: KEEP_ALIVE_MS,
        noDelay: true,
      },
      (socket) => this.#onConnection(socket, door),
    );
    this.#servers.push(server);
    return new Promise((resolve, reject) => {
      // Later errors concern single connections that could not be accepted: ignored.
      server.on("error", (error) => reject(new ListenError(name, error.message)));
      server.listen(where, () => {
        const address = server.address();
        resolve(typeof address === "object" && address !== null ? address.port : 0);
      });
    });
  }

  /** One for all ports of a kind: they share the limit of handshakes. */
  #doorOf(protocols: Protocols): TlsDoor {
    const known = this.#doors.get(protocols);
    if (known !== undefined) return known;
    assert(this.#tls !== undefined, "a frontend that serves https has certificates");
    const door = this.#tls.openDoor({
      plain: protocols === "both" ? (socket) => this.#serve(socket, "") : undefined,
      secure: (socket, commonName) => this.#serve(socket, commonName),
    });
    this.#doors.set(protocols, door);
    return door;
  }

  #onConnection(socket: Socket, door: TlsDoor | undefined): void {
    const { options } = this.#shared;
    options.onConnection(1);
    this.#open++;
    socket.once("close", () => {
      this.#open--;
      options.onConnection(-1);
    });
    if (this.#open > options.connectionsMax) {
      options.onRefused();
      socket.destroy();
    } else if (door === undefined) this.#serve(socket, "");
    else door.admit(socket);
  }

  #serve(socket: Socket, commonName: string): void {
    const connection = new HttpConnection(socket, this.#shared, commonName);
    this.#connections.add(connection);
    socket.once("close", () => this.#connections.delete(connection));
  }

  stopListening(): void {
    this.#shared.isStopping = true;
    for (const server of this.#servers) server.close();
    for (const door of this.#doors.values()) door.close();
    for (const connection of this.#connections) connection.stop();
  }

  close(): void {
    for (const door of this.#doors.values()) door.close();
    for (const connection of this.#connections) connection.cut();
  }
}

/** How https is served: node-tls.ts, loaded only for it. */
export interface NodeTls {
  openDoor(rooms: Rooms): TlsDoor;
}
