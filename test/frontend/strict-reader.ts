import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, type Socket } from "node:net";

/** One response as on the wire. */
export interface StrictAnswer {
  readonly status: number;
  readonly head: string;
  /** A single one for a response with a length. */
  readonly chunks: readonly Buffer[];
}

/**
 * Accepts only the minimal grammar of RFC 9112: no chunk extensions, no trailers, no bare line
 * ends.
 */
export class StrictReader {
  readonly socket: Socket;
  /** Turns between two reads, in which the socket fills. */
  readonly #pauseTurns: number;
  #bytes: Buffer<ArrayBufferLike> = Buffer.alloc(0);
  #parts: Buffer[] = [];
  #partsBytes = 0;
  #isClosed = false;
  #wake: () => void = () => undefined;

  private constructor(socket: Socket, pauseTurns: number) {
    this.socket = socket;
    this.#pauseTurns = pauseTurns;
    socket.on("data", (part: Buffer) => {
      this.#parts.push(part);
      this.#partsBytes += part.length;
      this.#wake();
      if (this.#pauseTurns > 0) {
        socket.pause();
        this.#resumeAfter(this.#pauseTurns);
      }
    });
    socket.on("error", () => undefined);
    socket.on("close", () => {
      this.#isClosed = true;
      this.#wake();
    });
  }

  static async open(port: number, pauseTurns = 0): Promise<StrictReader> {
    const socket = connect(port, "127.0.0.1");
    const reader = new StrictReader(socket, pauseTurns);
    await once(socket, "connect");
    return reader;
  }

  send(text: string): void {
    this.socket.write(text);
  }

  async answer(): Promise<StrictAnswer> {
    const { status, head, length } = await this.head();
    if (length !== undefined) return { status, head, chunks: [await this.#take(length)] };
    const chunks: Buffer[] = [];
    for (;;) {
      const chunk = await this.chunk();
      if (chunk === undefined) return { status, head, chunks };
      chunks.push(chunk);
    }
  }

  /** @returns the length, unless the response is chunked */
  async head(): Promise<{ status: number; head: string; length: number | undefined }> {
    const lines: string[] = [];
    for (let line = await this.#line(); line !== ""; line = await this.#line()) lines.push(line);
    const [first = "", ...fields] = lines;
    const status = /^HTTP\/1\.1 (\d{3}) [\x20-\x7e]+$/.exec(first)?.[1];
    assert.ok(status !== undefined, `a status line: ${JSON.stringify(first.slice(0, 200))}`);
    for (const field of fields) assert.match(field, /^[A-Za-z0-9-]+: [\x20-\x7e]*$/);
    const of = (name: string) => fields.filter((field) => field.startsWith(`${name}: `));
    const lengths = of("Content-Length");
    const codings = of("Transfer-Encoding");
    assert.equal(lengths.length + codings.length, 1, `one framing: ${lines.join("|")}`);
    if (codings.length > 0) assert.equal(codings[0], "Transfer-Encoding: chunked");
    const length = lengths.length > 0 ? Number(lengths[0]?.slice(16)) : undefined;
    return { status: Number(status), head: lines.join("\r\n"), length };
  }

  /** @returns undefined at the end */
  async chunk(): Promise<Buffer | undefined> {
    const line = await this.#line();
    assert.match(line, /^(0|[1-9a-f][0-9a-f]*)$/i, "a size and nothing else");
    const size = Number.parseInt(line, 16);
    const bytes = await this.#take(size);
    assert.equal(await this.#line(), "", "a chunk ends, and nothing follows the last");
    return size === 0 ? undefined : bytes;
  }

  /** Received and not yet read. */
  get unread(): string {
    this.#gather();
    return this.#bytes.toString("latin1");
  }

  async untilClosed(): Promise<void> {
    while (!this.#isClosed) await this.#more();
  }

  close(): void {
    this.socket.destroy();
  }

  #resumeAfter(turns: number): void {
    if (turns === 0) this.socket.resume();
    else setImmediate(() => this.#resumeAfter(turns - 1));
  }

  async #line(): Promise<string> {
    for (;;) {
      this.#gather();
      const at = this.#bytes.indexOf(0x0a);
      if (at >= 0) {
        const line = (await this.#take(at + 1)).toString("latin1");
        assert.ok(line.endsWith("\r\n"), `a line end: ${JSON.stringify(line.slice(-100))}`);
        return line.slice(0, -2);
      }
      await this.#more();
    }
  }

  async #take(bytes: number): Promise<Buffer> {
    while (this.#bytes.length + this.#partsBytes < bytes) await this.#more();
    this.#gather();
    const taken = this.#bytes.subarray(0, bytes);
    this.#bytes = this.#bytes.subarray(bytes);
    return taken;
  }

  #gather(): void {
    if (this.#parts.length === 0) return;
    this.#bytes = Buffer.concat([this.#bytes, ...this.#parts]);
    this.#parts = [];
    this.#partsBytes = 0;
  }

  async #more(): Promise<void> {
    const before = this.#partsBytes;
    if (this.#isClosed) throw new Error(`closed after ${JSON.stringify(this.unread.slice(-200))}`);
    await new Promise<void>((resolve) => {
      this.#wake = () => {
        if (this.#partsBytes > before || this.#isClosed) resolve();
      };
    });
  }
}
