import { once } from "node:events";
import { connect, type Socket } from "node:net";

/** An HTTP/1.1 client that sends requests unaltered: raw paths, bodies with any method. */

export interface RawRequest {
  readonly method: string;
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Buffer;
}

export interface RawAnswer {
  readonly status: number;
  readonly headers: ReadonlyMap<string, string>;
  readonly body: Buffer;
}

/** One request on a new connection. @throws Error if the connection ends without a response */
export async function request(port: number, raw: RawRequest): Promise<RawAnswer> {
  const stream = await open(port, raw);
  await stream.ended;
  if (!stream.isComplete) throw new Error("the connection ended in the middle of the answer");
  stream.close();
  return { status: stream.status, headers: stream.headers, body: stream.body };
}

/** GET, PUT with a form, and so on, in short. */
export function send(
  port: number,
  method: string,
  path: string,
  form?: string,
): Promise<RawAnswer> {
  const headers: Record<string, string> =
    form === undefined ? {} : { "Content-Type": "application/x-www-form-urlencoded" };
  return request(port, { method, path, headers, ...(form === undefined ? {} : { body: form }) });
}

/** A request with a long response; resolves once its headers have arrived. */
export async function open(port: number, raw: RawRequest): Promise<AnswerStream> {
  const socket = connect(port, "127.0.0.1");
  await once(socket, "connect");
  const body = raw.body === undefined ? undefined : Buffer.from(raw.body);
  const lines = [`${raw.method} ${raw.path} HTTP/1.1`, `Host: 127.0.0.1:${port}`];
  for (const [name, value] of Object.entries(raw.headers ?? {})) lines.push(`${name}: ${value}`);
  if (body !== undefined) lines.push(`Content-Length: ${body.length}`);
  const stream = new AnswerStream(socket, raw.method === "HEAD");
  socket.write(`${lines.join("\r\n")}\r\n\r\n`, "latin1");
  if (body !== undefined) socket.write(body);
  await stream.headed;
  return stream;
}

/** Parses one response as it arrives. */
export class AnswerStream {
  readonly #socket: Socket;
  readonly #hasNoBody: boolean;
  #input = Buffer.alloc(0);
  #isHeaded = false;
  #waiters: (() => void)[] = [];
  status = 0;
  headers: Map<string, string> = new Map();
  body = Buffer.alloc(0);
  /** The whole response has arrived. */
  isComplete = false;
  /** It is complete, or the connection has ended. */
  isEnded = false;
  readonly headed: Promise<void>;
  readonly ended: Promise<void>;

  constructor(socket: Socket, hasNoBody: boolean) {
    this.#socket = socket;
    this.#hasNoBody = hasNoBody;
    socket.on("data", (bytes) => {
      this.#input = Buffer.concat([this.#input, bytes]);
      this.#parse();
      this.#wake();
    });
    socket.on("error", () => undefined);
    socket.on("close", () => {
      // Without a length the body ends with the connection (RFC 9112, 6.3).
      const isDelimited =
        this.headers.has("content-length") || this.headers.has("transfer-encoding");
      if (this.#isHeaded && !isDelimited) {
        this.body = this.#input;
        this.isComplete = true;
      }
      this.isEnded = true;
      this.#wake();
    });
    this.headed = this.#until(() => this.#isHeaded).then(() => {
      if (!this.#isHeaded) throw new Error("the connection ended before an answer came");
    });
    this.ended = this.#until(() => this.isEnded);
  }

  /** Lines of the body so far, without an unfinished last one. */
  get lines(): string[] {
    return this.body.toString("latin1").split("\n").slice(0, -1);
  }

  /** Resolves when there are that many lines, the response ends, or on timeout. */
  async untilLines(count: number, ms: number): Promise<void> {
    const timer = setTimeout(() => this.#wake(true), ms);
    await this.#until(() => this.lines.length >= count);
    clearTimeout(timer);
  }

  close(): void {
    this.#socket.destroy();
  }

  #until(isTrue: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      const look = (isLast = false) => {
        if (isTrue() || this.isEnded || isLast) resolve();
        else this.#waiters.push(look);
      };
      look();
    });
  }

  #wake(isLast = false): void {
    const waiters = this.#waiters as ((isLast: boolean) => void)[];
    this.#waiters = [];
    for (const waiter of waiters) waiter(isLast);
  }

  #parse(): void {
    if (!this.#isHeaded && !this.#parseHead()) return;
    if (this.isComplete) return;
    if (this.#hasNoBody || this.status === 204) this.#complete();
    else if (this.headers.get("transfer-encoding") === "chunked") this.#parseChunks();
    else if (this.headers.has("content-length")) {
      const length = Number(this.headers.get("content-length"));
      this.body = this.#input.subarray(0, length);
      if (this.body.length === length) this.#complete();
    }
  }

  #parseHead(): boolean {
    const end = this.#input.indexOf("\r\n\r\n");
    if (end < 0) return false;
    const [first = "", ...lines] = this.#input.toString("latin1", 0, end).split("\r\n");
    this.#input = this.#input.subarray(end + 4);
    this.status = Number(first.split(" ")[1]);
    if (this.status === 100) return this.#parseHead();
    for (const line of lines) {
      const colon = line.indexOf(":");
      this.headers.set(line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim());
    }
    this.#isHeaded = true;
    return true;
  }

  #parseChunks(): void {
    for (;;) {
      const end = this.#input.indexOf("\r\n");
      if (end < 0) return;
      const size = Number.parseInt(this.#input.toString("latin1", 0, end), 16);
      if (size === 0) {
        // The last chunk; trailers may follow, up to an empty line.
        if (this.#input.indexOf("\r\n\r\n", end) >= 0) this.#complete();
        return;
      }
      if (this.#input.length < end + 2 + size + 2) return;
      this.body = Buffer.concat([this.body, this.#input.subarray(end + 2, end + 2 + size)]);
      this.#input = this.#input.subarray(end + 2 + size + 2);
    }
  }

  #complete(): void {
    this.isComplete = true;
    this.isEnded = true;
  }
}
