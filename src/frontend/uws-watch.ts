import type { HttpResponse } from "uWebSockets.js";
import type { ChunkBody } from "./frontend.js";
import { type Backlogs, StreamBacklog } from "./uws-backlog.js";
import { CORK_BYTES, PIECE_BYTES } from "./uws-writer.js";

/**
 * Handles of one response: the library makes one for each route that a request passes. The first is never
 * used up: it is told of the close, and asks for room.
 */
export type WatchHandles = HttpResponse[];
/** One for the head, two for the end. */
export const WATCH_HANDLES = 4;
/** One more for each event before the last, as far as they last: 41 bytes each. */
export const STREAM_HANDLES = 64 + WATCH_HANDLES;

/** More than any stream is long: the library never takes the answer for complete. */
const ENDLESS_BYTES = 2 ** 52;
/** So much of a stream goes out through handles; its write offset never gets beyond. */
const PLAIN_BYTES_MAX = 8 * 1024 * 1024;
/** What a closed socket swallows makes its write offset one that no open watch has. Never touched. */
const MARK = new Uint8Array(PLAIN_BYTES_MAX + 1);

/**
 * A watch on the wire: its head must be seen before the first event, and the library ends the head of a
 * chunked answer only with the first chunk. So chunks are framed here. While there are handles, one of them
 * writes an event as it is. After that, what the library still writes, any number of times, is a header
 * line, "name: value": that puts a blank after the event's last colon. JSON allows it there.
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
 * as they are, each of them once.
 *
 * What the library no longer does for such a connection:
 *   1. It serves the next request. If one comes before the end, the connection is closed: `onData` tells
 *      of it, or, where the request brings a handler for its body, the write offset: it begins anew, and is
 *      `#offset` while the connection is the watch's. Both may be 0; see WatchRegister.
 *   2. It tells of the close, if such a request replaced `onAborted`. See WatchRegister.
 */
export class LastingWatch implements Watch {
  readonly backlog: StreamBacklog;
  readonly #res: HttpResponse;
  readonly #spare: HttpResponse[];
  readonly #onGone: () => void;
  /** Bytes written through handles. */
  #offset = 0;
  #isCut = false;

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
    const [res, first, ...spare] = handles as [HttpResponse, HttpResponse, ...HttpResponse[]];
    this.#res = res;
    this.#spare = spare;
    this.#onGone = onGone;
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
    return this.#res.getWriteOffset() !== this.#offset;
  }

  event(body: ChunkBody): boolean {
    if (this.isLost) return false;
    body.plain ??= chunkOf(body.bytes);
    const isPlain =
      this.#spare.length >= WATCH_HANDLES && this.#offset + body.plain.length <= PLAIN_BYTES_MAX;
    return isPlain ? this.#write(body.plain) : writeEvent(this.#res, body);
  }

  end(body: ChunkBody): boolean {
    if (this.isLost) return false;
    if (body.framedLast === undefined) {
      const isEmpty = body.bytes.length === 0;
      body.plain ??= chunkOf(body.bytes);
      body.framedLast = isEmpty ? LAST_CHUNK : Buffer.concat([body.plain, LAST_CHUNK]);
    }
    this.backlog.close();
    return this.#write(body.framedLast);
  }

  cut(): void {
    if (this.#isCut) return;
    this.#isCut = true;
    this.#res.close();
  }

  /** Takes one handle, or two for the first bytes. @returns false if the connection is another request's */
  #write(bytes: Uint8Array): boolean {
    const at = this.#offset === 0 ? this.#writeFirst(bytes) : 0;
    if (at < 0) return false;
    if (at < bytes.length) {
      // What the socket does not take, the library keeps.
      const handle = this.#spare.pop() as HttpResponse;
      const rest = at === 0 ? bytes : bytes.subarray(at);
      handle.cork(() => handle.end(rest));
      // A first write of all there is so far looks like a whole answer, whose callbacks are dropped.
      if (this.#offset === 0 && !this.backlog.isClosed) {
        this.#res.onAborted(this.#onGone);
        this.backlog.listen();
      }
      this.#offset += rest.length;
    }
    return true;
  }

  /**
   * A request that came in between and waits has write offset 0, too. What a cork holds is not sent if the
   * connection is closed in it.
   *
   * @returns how much was written, or -1 if there is such a request
   */
  #writeFirst(bytes: Uint8Array): number {
    const handle = this.#spare.pop() as HttpResponse;
    let isOurs = true;
    handle.cork(() => {
      [, isOurs] = handle.tryEnd(bytes.subarray(0, PIECE_BYTES), ENDLESS_BYTES);
      if (!isOurs) this.cut();
    });
    if (!isOurs) return -1;
    this.#offset = this.#res.getWriteOffset(); // None behind bytes that wait.
    return this.#offset;
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

function chunkOf(bytes: Uint8Array): Buffer {
  return Buffer.concat([sizeLine(bytes.length), bytes, LINE_END]);
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
 * watch that is closed and was not told is found by its write offset: every connection that closes swallows
 * a mark, which moves it. Only requests with a handler for their body take a watch's callbacks without our
 * being told, so without them there is nothing to look for.
 *
 * A connection whose answer is chunked cannot be marked: its callback would be dropped, the write offset
 * would stay. That is 0, so while there are such answers, one with write offset 0 is left alone until it is
 * known that its request waits.
 */
export class WatchRegister {
  readonly #onLost = new Map<Watch, () => void>();
  #isLooking = false;
  /** A request with a body came since the first of the open watches. */
  #hadBody = false;
  /** Chunked answers under way. */
  #chunked = 0;
  /** Handed out by the library at the last close, not marked. */
  #closing: HttpResponse | undefined;

  add(watch: Watch, onLost: () => void): void {
    this.#onLost.set(watch, onLost);
  }

  delete(watch: Watch): void {
    this.#onLost.delete(watch);
    if (this.#onLost.size === 0) this.#hadBody = false;
  }

  /** No handle is used any more. */
  clear(): void {
    this.#onLost.clear();
  }

  onBodyRequest(): void {
    this.#hadBody = this.#onLost.size > 0;
  }

  /** @param change 1 with the first bytes, -1 with the last or when the connection is closed */
  onChunked(change: number): void {
    this.#chunked += change;
  }

  /** First, before the request that waits there is told. */
  onClose(res: HttpResponse): void {
    this.#closing = undefined;
    if (!this.#hadBody) return;
    if (this.#chunked === 0 || res.getWriteOffset() !== 0) mark(res);
    else this.#closing = res;
    if (this.#isLooking) return;
    this.#isLooking = true;
    setImmediate(() => this.#look());
  }

  /** The connection that is being closed has a request without an answer, not even a part of one. */
  onUnanswered(): void {
    if (this.#closing !== undefined) mark(this.#closing);
    this.#closing = undefined;
  }

  #look(): void {
    this.#isLooking = false;
    this.#closing = undefined;
    for (const [watch, onLost] of this.#onLost) {
      if (watch.isLost) onLost();
    }
  }
}

/** Of a connection that is being closed. */
function mark(res: HttpResponse): void {
  res.cork(() => res.tryEnd(MARK, ENDLESS_BYTES));
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
