import type { HttpResponse } from "uWebSockets.js";
import type { ChunkBody } from "./frontend.js";
import { type Backlogs, StreamBacklog } from "./uws-backlog.js";
import { CORK_BYTES, PIECE_BYTES } from "./uws-writer.js";

/** Handles of one response: the library makes one for each route that a request passes. */
export type WatchHandles = readonly [
  head: HttpResponse,
  last: HttpResponse,
  res: HttpResponse,
  rest: HttpResponse,
];
export const WATCH_HANDLES = 4;

/** More than any stream is long: the library never takes the answer for complete. */
const ENDLESS_BYTES = 2 ** 52;
const ONE_BYTE = new Uint8Array(1);

/**
 * A watch on the wire: its head must be seen before the first event, and the library ends the head of a
 * chunked answer only with the first chunk. So chunks are framed here. What the library writes as it is,
 * any number of times, is a header line, "name: value": an event that is not the last is written as one,
 * which puts a blank after its last colon. JSON allows it there.
 */
export interface Watch {
  readonly backlog: StreamBacklog;
  /** Another request took over the connection, or it is closed. */
  readonly isLost: boolean;
  /** @returns false if the connection is to be cut */
  event(body: ChunkBody): boolean;
  /** @returns false if the connection is to be cut */
  end(body: ChunkBody): boolean;
  cut(): void;
}

/**
 * The connection can be used again. The head goes out as that of an answer without a body: for the library
 * the answer is over, and the handle that ended it is void. Others of the same response still write bytes
 * as they are, each of them once: `last` and `rest` write the end.
 *
 * What the library no longer does for such a connection:
 *   1. It serves the next request. If one comes before the end, the connection is closed: `onData` tells
 *      of it, or, where the request brings a handler for its body, the write offset, which is 0 here.
 *   2. It tells of the close, if such a request replaced `onAborted`. See WatchRegister.
 */
export class LastingWatch implements Watch {
  readonly backlog: StreamBacklog;
  readonly #last: HttpResponse;
  readonly #res: HttpResponse;
  readonly #rest: HttpResponse;

  /**
   * @param head as in `writeAnswer`
   * @param hasRequestEnded whether `onData` was called for the end of the watch's own request
   * @param onGone the client has closed
   * @param onIntruder see 1
   */
  constructor(
    handles: WatchHandles,
    backlogs: Backlogs,
    head: string,
    hasRequestEnded: boolean,
    onGone: () => void,
    onIntruder: () => void,
  ) {
    const [first, last, res, rest] = handles;
    this.#last = last;
    this.#res = res;
    this.#rest = rest;
    first.cork(() => {
      first.writeStatus(`${head}\r\nTransfer-Encoding: chunked`);
      first.endWithoutBody();
    });
    res.onAborted(onGone);
    this.backlog = new StreamBacklog(res, backlogs);
    if (hasRequestEnded) res.onData(onIntruder);
    else {
      setImmediate(() => {
        if (!this.backlog.isClosed) res.onData(onIntruder);
      });
    }
    res.resume(); // The end of the head started the library's timer, which a writable event stops.
  }

  get isLost(): boolean {
    return this.#res.getWriteOffset() !== 0;
  }

  event(body: ChunkBody): boolean {
    return !this.isLost && writeEvent(this.#res, body);
  }

  end(body: ChunkBody): boolean {
    if (this.isLost) return false;
    const { bytes } = body;
    body.framedLast ??=
      bytes.length === 0
        ? LAST_CHUNK
        : Buffer.concat([sizeLine(bytes.length), bytes, LINE_END, LAST_CHUNK]);
    const all = body.framedLast;
    let isOurs = true;
    this.#res.cork(() => {
      [, isOurs] = this.#last.tryEnd(all.subarray(0, PIECE_BYTES), ENDLESS_BYTES);
      if (!isOurs) this.#res.close(); // A request came in between: nothing of this cork is sent.
    });
    this.backlog.close();
    // Behind bytes that wait it takes none, and `end` takes all.
    const taken = isOurs ? this.#res.getWriteOffset() : all.length;
    if (taken < all.length) this.#rest.cork(() => this.#rest.end(all.subarray(taken)));
    return true;
  }

  cut(): void {
    this.#res.close();
  }
}

/**
 * The connection closes with the watch: where the client wants it, or there are no further handles. For the
 * library the answer never ends, and a request that comes before the end is its business.
 */
export class ClosingWatch implements Watch {
  readonly backlog: StreamBacklog;
  readonly isLost = false;
  readonly #res: HttpResponse;

  constructor(res: HttpResponse, backlogs: Backlogs, head: string) {
    this.#res = res;
    const date = `Date: ${new Date().toUTCString()}\r\n`;
    const last = "Connection: close\r\nTransfer-Encoding: chunked\r\n";
    res.cork(() => res.writeStatus(`${head}\r\n${date}${last}`));
    this.backlog = new StreamBacklog(res, backlogs);
  }

  event(body: ChunkBody): boolean {
    return writeEvent(this.#res, body);
  }

  end(body: ChunkBody): boolean {
    if (!writeEvent(this.#res, body, END_OF_LAST)) return false;
    this.backlog.whenTaken(() => this.#res.close());
    return true;
  }

  cut(): void {
    this.#res.close();
  }
}

const LINE_END = Buffer.from("\r\n");
const LAST_CHUNK = Buffer.from("0\r\n\r\n");
/** Of a chunk, and of the stream but for the line end that the library writes. */
const END_OF_LAST = Buffer.from("\r\n0\r\n");
/** The name of the last field of each node, then of any. A quote in a string has a backslash. */
const SPLITS = [Buffer.from('"createdIndex":'), Buffer.from('":')];
/** A size, ": ", and line ends. */
const LINE_BYTES = 32;

function sizeLine(bytes: number): Buffer {
  return Buffer.from(`${bytes.toString(16)}\r\n`);
}

/** @param last follows it @returns false for bytes that are no event */
function writeEvent(res: HttpResponse, body: ChunkBody, last?: Buffer): boolean {
  if (body.framed === undefined) frameEvent(body);
  const { framed, framedSplit } = body;
  if (framed === undefined || framedSplit === undefined) return false;
  const name = framed.subarray(0, framedSplit);
  const value = framed.subarray(framedSplit);
  const line = [name, last === undefined ? value : Buffer.concat([value, last])];
  // The declarations know strings only.
  res.cork(() => res.writeHeader(...(line as unknown as [string, string])));
  return true;
}

/**
 * One chunk: up to `framedSplit` the name of a header line, then its value. If it does not fit into a cork,
 * blanks make the name alone too large for one, as the writer's rule wants it.
 */
function frameEvent(body: ChunkBody): void {
  const { buffer, byteOffset, length } = body.bytes;
  const bytes = Buffer.from(buffer, byteOffset, length);
  const split = SPLITS.find((name) => bytes.includes(name));
  if (split === undefined) return;
  const at = bytes.lastIndexOf(split) + split.length - 1;
  const blanks = length > CORK_BYTES - LINE_BYTES ? Math.max(0, CORK_BYTES - at) : 0;
  const size = sizeLine(length + blanks + 1);
  const name = bytes.subarray(0, at);
  body.framed = Buffer.concat([size, name, Buffer.alloc(blanks, " "), bytes.subarray(at + 1)]);
  body.framedSplit = size.length + at + blanks;
}

/**
 * The open watches of a frontend, to find those whose close nobody told of. A handle must not be used any
 * more once its connection's memory is free, which it is at the end of the event loop's turn. In that turn a
 * watch that is closed and was not told is found by its write offset: the answer to the request that came in
 * between has moved it; if there was none yet, one byte does, which a closed socket swallows.
 */
export class WatchRegister {
  readonly #onLost = new Map<Watch, () => void>();
  #isLooking = false;
  /** Handed out by the library at the last close. */
  #closing: HttpResponse | undefined;

  add(watch: Watch, onLost: () => void): void {
    this.#onLost.set(watch, onLost);
  }

  delete(watch: Watch): void {
    this.#onLost.delete(watch);
  }

  /** No handle is used any more. */
  clear(): void {
    this.#onLost.clear();
  }

  /** First, before the request that waits there is told. */
  onClose(res: HttpResponse): void {
    if (this.#onLost.size === 0) return;
    this.#closing = res;
    if (this.#isLooking) return;
    this.#isLooking = true;
    setImmediate(() => this.#look());
  }

  /** The connection that is being closed has a request without an answer, not even a part of one. */
  onUnanswered(): void {
    const res = this.#closing;
    this.#closing = undefined;
    res?.cork(() => res.tryEnd(ONE_BYTE, ENDLESS_BYTES));
  }

  #look(): void {
    this.#isLooking = false;
    this.#closing = undefined;
    for (const [watch, onLost] of this.#onLost) {
      if (watch.isLost) onLost();
    }
  }
}

/**
 * Counts connections that closed without a request. What the library tells at a close is the length of the
 * last answer: 0 may also be one without a body or a chunked one, so those are counted against it.
 */
export class UnservedCount {
  readonly #onUnserved: () => void;
  #suspects = 0;
  #isLastSuspect = false;
  #isCounting = false;
  #withoutLength = 0;

  constructor(onUnserved: () => void) {
    this.#onUnserved = onUnserved;
  }

  /** An answer that leaves the write offset at 0. */
  onWithoutLength(): void {
    this.#withoutLength++;
  }

  /** First, before the request that waits there is told. */
  onClose(res: HttpResponse): void {
    this.#isLastSuspect = res.getWriteOffset() === 0;
    if (!this.#isLastSuspect) return;
    this.#suspects++;
    if (this.#isCounting) return;
    this.#isCounting = true;
    setImmediate(() => this.#count());
  }

  /** The connection that is being closed has, or had, a request. */
  onRequestGone(): void {
    if (!this.#isLastSuspect) return;
    this.#isLastSuspect = false;
    this.#suspects--;
  }

  #count(): void {
    this.#isCounting = false;
    const others = Math.min(this.#suspects, this.#withoutLength);
    this.#withoutLength -= others;
    for (let n = this.#suspects - others; n > 0; n--) this.#onUnserved();
    this.#suspects = 0;
  }
}
