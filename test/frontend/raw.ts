import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { connect as connectSecurely } from "node:tls";

/** Ports that serve TLS; certificates are not verified. */
export const securePorts = new Set<number>();

/** Connects to a port of 127.0.0.1; over TLS, the handshake is over, or has failed. */
async function connectTo(port: number): Promise<{ socket: Socket; raw: Socket }> {
  const raw = connect(port, "127.0.0.1");
  await once(raw, "connect");
  if (!securePorts.has(port)) return { socket: raw, raw };
  const options = { rejectUnauthorized: false, ALPNProtocols: ["http/1.1"] };
  const socket = connectSecurely({ ...options, socket: raw });
  await once(socket, "secureConnect").catch(() => undefined);
  return { socket, raw };
}

/** A connection that sends exactly the given bytes and keeps all it receives. */
export class RawConnection {
  readonly socket: Socket;
  /** Below TLS. */
  readonly #raw: Socket;
  /** Everything received, one character per byte. */
  text = "";
  isClosed = false;
  #wake: () => void = () => undefined;

  private constructor(socket: Socket, raw: Socket) {
    this.socket = socket;
    this.#raw = raw;
    this.isClosed = socket.destroyed;
    socket.on("data", (bytes) => {
      this.text += bytes.toString("latin1");
      this.#wake();
    });
    socket.on("error", () => undefined);
    socket.on("close", () => {
      this.isClosed = true;
      this.#wake();
    });
  }

  /** @param first sent at once, one byte per character */
  static async open(port: number, first = ""): Promise<RawConnection> {
    const { socket, raw } = await connectTo(port);
    const connection = new RawConnection(socket, raw);
    if (first !== "") connection.send(first);
    return connection;
  }

  send(bytes: string | Buffer): void {
    this.socket.write(typeof bytes === "string" ? Buffer.from(bytes, "latin1") : bytes);
  }

  /**
   * Waits until `wanted` is received. @throws AssertionError if the connection or `ms` ends first
   */
  async until(wanted: string | RegExp, ms = 10_000): Promise<void> {
    await this.#waitFor(() => this.#has(wanted) || this.isClosed, ms);
    assert.ok(this.#has(wanted), `no ${wanted} in ${JSON.stringify(this.text.slice(0, 2000))}`);
  }

  /** Waits until the server has closed. @throws AssertionError if it does not in time */
  async untilClosed(ms = 10_000): Promise<string> {
    await this.#waitFor(() => this.isClosed, ms);
    assert.ok(this.isClosed, `still open after ${JSON.stringify(this.text.slice(0, 2000))}`);
    return this.text;
  }

  close(): void {
    this.socket.destroy();
  }

  /** The server sees an error instead of an end. */
  reset(): void {
    this.#raw.resetAndDestroy();
  }

  #has(wanted: string | RegExp): boolean {
    return typeof wanted === "string" ? this.text.includes(wanted) : wanted.test(this.text);
  }

  #waitFor(isTrue: () => boolean, ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        if (!isTrue()) return;
        clearTimeout(timer);
        resolve();
      };
      this.#wake();
    });
  }
}

/** The head of a request without a body. */
export function head(method: string, target: string, ...lines: string[]): string {
  return `${[`${method} ${target} HTTP/1.1`, "Host: localhost", ...lines].join("\r\n")}\r\n\r\n`;
}
