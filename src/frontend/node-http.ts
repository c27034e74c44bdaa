import { createServer, type Server, type Socket } from "node:net";
import { addressOfText } from "./addresses.js";
import type { Frontend, FrontendOptions, Gateway, PortSharing } from "./frontend.js";
import { HttpConnection, type Shared } from "./http-connection.js";
import { ListenError } from "./listen-error.js";
import { ReusedRequest } from "./reused-request.js";

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

  constructor(gateway: Gateway, options: FrontendOptions, headMsMax = HEAD_MS_MAX) {
    this.#shared = { gateway, options, request: new ReusedRequest(), headMsMax, isStopping: false };
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
        allowHalfOpen: true,
        keepAlive: true,
        keepAliveInitialDelay: KEEP_ALIVE_MS,
        noDelay: true,
      },
      (socket) => this.#onConnection(socket),
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

  #onConnection(socket: Socket): void {
    const { options } = this.#shared;
    options.onConnection(1);
    if (this.#connections.size >= options.connectionsMax) {
      socket.once("close", () => options.onConnection(-1));
      options.onRefused("all");
      socket.destroy();
      return;
    }
    if (options.addressLimit?.admits(addressOfText(socket.remoteAddress)) === false) {
      socket.once("close", () => options.onConnection(-1));
      options.onRefused("address");
      socket.destroy();
      return;
    }
    const connection = new HttpConnection(socket, this.#shared);
    this.#connections.add(connection);
    socket.once("close", () => {
      this.#connections.delete(connection);
      options.onConnection(-1);
    });
  }

  stopListening(): void {
    this.#shared.isStopping = true;
    for (const server of this.#servers) server.close();
    for (const connection of this.#connections) connection.stop();
  }

  close(): void {
    for (const connection of this.#connections) connection.cut();
  }
}
