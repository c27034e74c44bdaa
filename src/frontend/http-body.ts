import type { ByteQueue } from "./byte-queue.js";

/** Extracts the body of a request from the received bytes. */
export interface BodyDecoder {
  /**
   * @param take receives the body's bytes, and may keep them
   * @returns "bad" if the framing is invalid: the end of the body is unknown then
   */
  decode(input: ByteQueue, take: (part: Buffer) => void): "more" | "done" | "bad";
}

/** A body with Content-Length. */
export class SizedBody implements BodyDecoder {
  #left: number;

  constructor(bytes: number) {
    this.#left = bytes;
  }

  decode(input: ByteQueue, take: (part: Buffer) => void): "more" | "done" {
    const part = input.view.subarray(0, this.#left);
    input.skip(part.length);
    this.#left -= part.length;
    if (part.length > 0) take(part);
    return this.#left === 0 ? "done" : "more";
  }
}

/** Longest line between chunks, as in Go (internal/chunked.go, maxLineLength). */
const LINE_BYTES_MAX = 4096;
/** Limit of all trailer fields together. */
const TRAILER_BYTES_MAX = 1024 * 1024;
const CR = 13;
const LF = 10;

/** Extensions are ignored; blanks may surround them and follow the size. */
const SIZE_LINE = /^([0-9a-f]{1,16})[ \t]*(?:;[^\r]*)?\r$/i;
const TRAILER_LINE = /^[!#$%&'*+\-.^_`|~0-9A-Z]+:[\t\x20-\x7e\x80-\xff]*\r$/i;

/** A body with Transfer-Encoding: chunked (RFC 9112, 7.1). */
export class ChunkedBody implements BodyDecoder {
  /** The next element: a size line, `#left` bytes, the line end after them, or trailer fields. */
  #expected: "size" | "data" | "dataEnd" | "trailer" = "size";
  #left = 0;
  #trailerBytes = 0;

  decode(input: ByteQueue, take: (part: Buffer) => void): "more" | "done" | "bad" {
    const bytes = input.view;
    // Move data down over the framing, so that many small chunks still make one part.
    let data = 0;
    let at = 0;
    let outcome: "more" | "done" | "bad" | undefined;
    while (outcome === undefined) {
      if (this.#expected === "data") {
        const count = Math.min(this.#left, bytes.length - at);
        bytes.copyWithin(data, at, at + count);
        data += count;
        at += count;
        this.#left -= count;
        if (this.#left > 0) outcome = "more";
        else this.#expected = "dataEnd";
      } else if (this.#expected === "dataEnd") {
        if (bytes.length - at < 2)
          outcome = bytes[at] === CR || at === bytes.length ? "more" : "bad";
        else if (bytes[at] !== CR || bytes[at + 1] !== LF) outcome = "bad";
        else {
          at += 2;
          this.#expected = "size";
        }
      } else {
        const lf = bytes.indexOf(LF, at);
        const length = (lf < 0 ? bytes.length : lf) - at;
        if (length > LINE_BYTES_MAX) outcome = "bad";
        else if (lf < 0) outcome = "more";
        else {
          outcome = this.#onLine(bytes.latin1Slice(at, lf));
          at = lf + 1;
        }
      }
    }
    input.skip(at);
    if (data > 0) take(bytes.subarray(0, data));
    return outcome;
  }

  /** @param line including its CR */
  #onLine(line: string): "done" | "bad" | undefined {
    if (this.#expected === "size") {
      const size = Number.parseInt(SIZE_LINE.exec(line)?.[1] ?? "", 16);
      if (!Number.isSafeInteger(size)) return "bad";
      this.#left = size;
      this.#expected = size === 0 ? "trailer" : "data";
      return undefined;
    }
    if (line === "\r") return "done";
    this.#trailerBytes += line.length;
    const isGood = this.#trailerBytes <= TRAILER_BYTES_MAX && TRAILER_LINE.test(line);
    return isGood ? undefined : "bad";
  }
}
