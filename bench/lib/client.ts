import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { FORM } from "./workload.js";

/** A response was not 2xx, or the connection broke. */
export class ClientError extends Error {
  override readonly name = "ClientError";
}

const HEAD_END = Buffer.from("\r\n\r\n");
const CHUNKS_END = Buffer.from("0\r\n\r\n");

/** Rendered once, for requests that are sent often. */
export function renderGet(path: string): Buffer {
  return Buffer.from(`GET ${path} HTTP/1.1\r\nHost: bench\r\n\r\n`, "latin1");
}

export function renderPut(path: string, value: string): Buffer {
  const body = `value=${value}`;
  return Buffer.from(
    `PUT ${path} HTTP/1.1\r\nHost: bench\r\nContent-Type: ${FORM}\r\n` +
      `Content-Length: ${body.length}\r\n\r\n${body}`,
    "latin1",
  );
}

/**
 * Length of the first response in `received`; 0 while it is incomplete.
 *
 * Supports the members' responses only: a Content-Length, or chunks without trailers that end the
 * buffer (one request at a time, so nothing follows).
 */
function answerBytes(received: Buffer): number {
  const headEnd = received.indexOf(HEAD_END);
  if (headEnd < 0) return 0;
  const head = received.toString("latin1", 0, headEnd);
  const length = /^content-length: *(\d+)/im.exec(head)?.[1];
  if (length !== undefined) {
    const total = headEnd + HEAD_END.length + Number(length);
    return received.length >= total ? total : 0;
  }
  return received.subarray(-CHUNKS_END.length).equals(CHUNKS_END) ? received.length : 0;
}

/**
 * One keep-alive connection, one small request at a time: a tenth of the CPU of node:http, so that
 * a load of hundreds of thousands of keys measures the server. Not for large responses, as it joins
 * their parts.
 */
export class Connection {
  readonly #socket: Socket;
  #received: Buffer = Buffer.alloc(0);
  #waiting: { resolve: () => void; reject: (error: Error) => void } | undefined;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.on("data", (bytes: Buffer) => this.#onData(bytes));
    socket.on("error", (error) => this.#fail(error.message));
    socket.on("close", () => this.#fail("the server closed the connection"));
  }

  static async open(url: string): Promise<Connection> {
    const { hostname, port } = new URL(url);
    const socket = connect(Number(port), hostname);
    await once(socket, "connect");
    return new Connection(socket);
  }

  /**
   * @param rendered a whole request
   * @throws ClientError if the response is not 2xx or the connection breaks
   */
  send(rendered: Buffer): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
      this.#socket.write(rendered);
    });
  }

  close(): void {
    this.#waiting = undefined;
    this.#socket.destroy();
  }

  #onData(bytes: Buffer): void {
    this.#received = this.#received.length === 0 ? bytes : Buffer.concat([this.#received, bytes]);
    if (answerBytes(this.#received) === 0) return;
    // "HTTP/1.1 2xx": the first digit of the status is enough.
    const head = this.#received.toString("latin1", 0, 64);
    this.#received = Buffer.alloc(0);
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (head[9] === "2") waiting?.resolve();
    else waiting?.reject(new ClientError(`Cannot do the request: ${head.split("\r\n")[0]}`));
  }

  #fail(reason: string): void {
    this.#waiting?.reject(new ClientError(`Cannot do the request: ${reason}`));
    this.#waiting = undefined;
  }
}

export interface FillOptions {
  readonly url: string;
  readonly count: number;
  readonly connections: number;
  readonly pathOf: (key: number) => string;
  readonly value: string;
}

/**
 * Writes keys 0 .. count - 1.
 *
 * @returns the duration, seconds
 * @throws ClientError on the first rejected write
 */
export async function fill(options: FillOptions): Promise<number> {
  const startedMs = performance.now();
  let next = 0;
  const worker = async () => {
    const connection = await Connection.open(options.url);
    while (next < options.count) {
      const key = next++;
      await connection.send(renderPut(options.pathOf(key), options.value));
    }
    connection.close();
  };
  await Promise.all(Array.from({ length: options.connections }, worker));
  return (performance.now() - startedMs) / 1000;
}
