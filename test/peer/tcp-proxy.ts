import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";

import { SCHEME } from "./endpoint.js";

/** A proxy between two endpoints that breaks or stops connections on command. */
export class TcpProxy {
  readonly url: string;
  /** Bytes forwarded to the target. */
  forwardedBytes = 0;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #isSilent = false;
  readonly #frozen = new Set<Socket>();
  readonly #damaged = new Set<Socket>();

  private constructor(server: Server) {
    this.#server = server;
    this.url = `${SCHEME}://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  static async before(targetPort: number): Promise<TcpProxy> {
    const server = createServer();
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const proxy = new TcpProxy(server);
    server.on("connection", (source) => proxy.#join(source, connect(targetPort, "127.0.0.1")));
    return proxy;
  }

  /** Breaks all connections; accepts new ones. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Forwards nothing more, without breaking connections. */
  silence(): void {
    this.#isSilent = true;
  }

  /** Damages one byte of each direction's next piece. */
  damage(): void {
    for (const socket of this.#sockets) this.#damaged.add(socket);
  }

  /** Stops forwarding on the current connections only. */
  freeze(): void {
    for (const socket of this.#sockets) this.#frozen.add(socket);
  }

  close(): void {
    this.#server.close();
    this.cut();
  }

  #join(source: Socket, target: Socket): void {
    for (const [from, to] of [
      [source, target],
      [target, source],
    ] as const) {
      this.#sockets.add(from);
      from.on("data", (piece) => {
        if (this.#isSilent || this.#frozen.has(from)) return;
        if (this.#damaged.delete(from)) piece[piece.length - 1] = ~(piece.at(-1) ?? 0);
        if (from === source) this.forwardedBytes += piece.length;
        to.write(piece);
      });
      from.on("error", () => undefined);
      from.on("close", () => {
        this.#sockets.delete(from);
        to.destroy();
      });
    }
  }
}
