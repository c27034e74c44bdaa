import { connect, createServer, type Server, type Socket } from "node:net";
import { ListenError } from "../frontend/listen-error.js";
import type { Logger } from "../log/logger.js";
import { connectionsMax } from "../process/descriptors.js";
import { type HostPort, hostPortText } from "./gateway-flags.js";
import type { Remote, Remotes } from "./remotes.js";

/** A member that does not answer must not hold up a client for long. */
const DIAL_MS = 5000;
const KEEP_ALIVE_MS = 30_000;
const DESCRIPTORS_PER_CLIENT = 2;

/** Forwards TCP connections to members, whatever they carry. */
export class TcpGateway {
  readonly #remotes: Remotes;
  readonly #retryMs: number;
  readonly #log: Pick<Logger, "info" | "warn">;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #retrying: NodeJS.Timeout | undefined;

  constructor(remotes: Remotes, retryMs: number, log: Pick<Logger, "info" | "warn">) {
    this.#remotes = remotes;
    this.#retryMs = retryMs;
    this.#log = log;
    const options = {
      allowHalfOpen: true,
      pauseOnConnect: true,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: KEEP_ALIVE_MS,
    };
    this.#server = createServer(options, (client) => {
      this.#serve(client).catch(() => client.destroy());
    });
    this.#server.maxConnections = connectionsMax(DESCRIPTORS_PER_CLIENT);
  }

  /** @returns the port @throws ListenError */
  listen(where: HostPort): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#server.on("error", ({ message }) =>
        reject(new ListenError(hostPortText(where), message)),
      );
      this.#server.listen(where.port, where.host, () => {
        this.#retrying = setInterval(() => void this.#retry(), this.#retryMs);
        const address = this.#server.address();
        resolve(typeof address === "object" && address !== null ? address.port : 0);
      });
    });
  }

  close(): void {
    clearInterval(this.#retrying);
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  async #serve(client: Socket): Promise<void> {
    this.#keep(client);
    for (;;) {
      const remote = this.#remotes.pick();
      if (remote === undefined || client.destroyed) {
        client.destroy();
        return;
      }
      try {
        const member = await dial(remote);
        this.#keep(member);
        join(client, member);
        return;
      } catch (error) {
        if (!this.#remotes.deactivate(remote)) continue;
        const address = hostPortText(remote);
        const reason = (error as Error).message;
        this.#log.warn({ address, intervalMs: this.#retryMs, reason }, "deactivated endpoint");
      }
    }
  }

  async #retry(): Promise<void> {
    await Promise.all(
      this.#remotes.inactive.map(async (remote) => {
        const address = hostPortText(remote);
        try {
          (await dial(remote)).destroy();
          this.#remotes.activate(remote);
          this.#log.info({ address }, "activated");
        } catch (error) {
          const reason = (error as Error).message;
          this.#log.warn({ address, reason }, "failed to activate endpoint");
        }
      }),
    );
  }

  #keep(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on("error", () => undefined); // "close" follows.
    socket.once("close", () => this.#sockets.delete(socket));
  }
}

/** Each side reads only as fast as the other writes, and ends when the other does. */
function join(client: Socket, member: Socket): void {
  client.pipe(member);
  member.pipe(client);
  client.once("close", () => member.destroy());
  member.once("close", () => client.destroySoon());
  if (client.destroyed) member.destroy();
}

function dial({ host, port }: Remote): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, allowHalfOpen: true, noDelay: true });
    const timer = setTimeout(
      () =>
        socket.destroy(new ListenError(`${host}:${port}`, `no connection within ${DIAL_MS} ms`)),
      DIAL_MS,
    );
    socket.once("error", (error) => {
      clearTimeout(timer);
      reject(error);
    });
    socket.once("connect", () => {
      clearTimeout(timer);
      socket.setKeepAlive(true, KEEP_ALIVE_MS);
      resolve(socket);
    });
  });
}
