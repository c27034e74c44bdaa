import type { HttpResponse } from "uWebSockets.js";
import type { Backlogs } from "./backlogs.js";
import type { ChunkBody } from "./chunk-body.js";
import { StreamBacklog } from "./uws-backlog.js";
import { CORK_BYTES, PIECE_BYTES } from "./uws-writer.js";

/**
 * Handles of one response: the library makes one for each route that a request passes. The first is
 * never used up: it is told of the close, and asks for room.
 */
export type WatchHandles = HttpResponse[];
/** One for the head, two for the end. */
export const WATCH_HANDLES = 4;
/** One more for each event before the last, as far as they last: 41 bytes each. */
export const STREAM_HANDLES = 64 + WATCH_HANDLES;

/** More than any stream is long: the library never takes the answer for complete. */
export const ENDLESS_BYTES = 2 ** 52;
/** So much of a stream goes out through handles; its write offset never gets beyond. */
export const PLAIN_BYTES_MAX = 8 * 1024 * 1024;
/**
 * How long a client may leave earlier answers unread before its watch makes way for another
 * request.
 */
const SETTLE_MS = 1000;

/**
 * A watch on the wire: its head must be seen before the first event, and the library ends the head
 * of a chunked answer only with the first chunk. So chunks are framed here. While there are
 * handles, one of them writes an event as it is. After that, what the library still writes, any
 * number of times, is a header line, "name: value": that puts a blank after the event's last colon.
 * JSON allows it there.
 */
export interface WatchStream {
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
 * The connection can be used again. The head goes out as that of an answer without a body: for the
 * library the answer is over, and the handle that ended it is void. Others of the same response
 * still write bytes as they are, each of them once.
 *
 * What the library no longer does for such a connection:
 *   1. It serves the next request. If one comes before the end, the connection is closed. `onData`
 *      reports it, unless the request brings a handler of its own for its body. Such requests ask
 *      for a writable event (UwsExchange.check), which the connection's `onWritable` gets: here, if
 *      it is the watch's. A watch that has written nothing expects none. One that has is told apart
 *      by its write offset, which the other request has set back.
 *   2. It reports the close, if such a request replaced `onAborted`. See WatchRegister.
 */
export class LastingWatch implements WatchStream {
  readonly backlog: StreamBacklog;
  readonly #res: HttpResponse;
  readonly #spare: HttpResponse[];
  readonly #onGone: () => void;
  readonly #onIntruder: () => void;
  /** Bytes written through handles. */
  #offset = 0;
  #hasWritten = false;
  /**
   * The writable event asked for at the start has not come: bytes of earlier answers wait before
   * it.
   */
  #isSettling = true;
  readonly #openedMs = performance.now();
  #isCut = false;

  /**
   * The watch's own request must have ended.
   *
   * @param head as in `sendResponse`
   * @param onGone the client has closed
   * @param onIntruder see 1
   */
  constructor(
    handles: WatchHandles,
    backlogs: Backlogs,
    head: string,
    onGone: () => void,
    onIntruder: () => void,
  ) {
    const [res, first, ...spare] = handles as [HttpResponse, HttpResponse, ...HttpResponse[]];
    this.#res = res;
    this.#spare = spare;
    this.#onGone = onGone;
    this.#onIntruder = onIntruder;
    first.cork(() => {
      first.writeStatus(`${head}\r\nTransfer-Encoding: chunked`);
      first.endWithoutBody();
    });
    res.onAborted(onGone);
    this.backlog = new StreamBacklog(res, backlogs, () => this.#onRoom());
    res.onData(onIntruder);
    // The end of the head started the library's timer, which a writable event stops.
    this.backlog.whenTaken(() => {
      this.#isSettling = false;
    });
  }

  get isLost(): boolean {
    return this.#res.getWriteOffset() !== this.#offset;
  }

  get isSettling(): boolean {
    return this.#isSettling;
  }

  /** Another request on the connection would not be noticed: its client does not read. */
  get isUnsafe(): boolean {
    return this.#isSettling && performance.now() - this.#openedMs > SETTLE_MS;
  }

  #onRoom(): void {
    if (!this.#isSettling && (!this.#hasWritten || this.isLost)) this.#onIntruder();
  }

  event(body: ChunkBody): boolean {
    if (this.isLost) return false;
    this.#hasWritten = true;
    body.plain ??= chunksOf(body);
    const isPlain =
      this.#spare.length >= WATCH_HANDLES && this.#offset + body.plain.length <= PLAIN_BYTES_MAX;
    return isPlain ? this.#write(body.plain) : writeEvent(this.#res, body);
  }

  end(body: ChunkBody): boolean {
    if (this.isLost) return false;
    this.#hasWritten = true;
    if (body.framedLast === undefined) {
      const isEmpty = body.bytes.length === 0;
      body.plain ??= chunksOf(body);
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

  /**
   * Takes one handle, or two for the first bytes. @returns false if the connection is another
   * request's
   */
  #write(bytes: Uint8Array): boolean {
    const at = this.#offset === 0 ? this.#writeFirst(bytes) : 0;
    if (at < 0) return false;
    if (at < bytes.length) {
      // What the socket does not take, the library keeps.
      const handle = this.#spare.pop() as HttpResponse;
      const rest = at === 0 ? bytes : bytes.subarray(at);
      handle.cork(() => handle.end(rest));
      // A first write of all there is so far looks like a whole answer, whose callbacks are
      // dropped.
      if (this.#offset === 0 && !this.backlog.isClosed) {
        this.#res.onAborted(this.#onGone);
        this.backlog.listen();
      }
      this.#offset += rest.length;
    }
    return true;
  }

  /**
   * A request that came in between and waits has write offset 0, too. What a cork holds is not sent
   * if the connection is closed in it.
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
 * The connection closes with the watch: where the client wants it, or there are no further handles.
 * For the library the answer never ends, and a request that comes before the end is its business.
 */
export class ClosingWatch implements WatchStream {
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

function chunksOf({ earlier, bytes }: ChunkBody): Buffer {
  return earlier.length === 0 ? chunkOf(bytes) : Buffer.concat([...earlier, bytes].map(chunkOf));
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
 * The last chunk, behind the earlier ones: up to `framedSplit` the name of a header line, then its
 * value. If it does not fit into a cork, blanks make the name alone too large for one, as the
 * writer's rule wants it.
 */
function frameEvent(body: ChunkBody): void {
  const { buffer, byteOffset, length } = body.bytes;
  const bytes = Buffer.from(buffer, byteOffset, length);
  const split = SPLITS.find((name) => bytes.includes(name));
  if (split === undefined) return;
  const at = bytes.lastIndexOf(split) + split.length - 1;
  const blanks = length > CORK_BYTES - LINE_BYTES ? Math.max(0, CORK_BYTES - at) : 0;
  const before = [...body.earlier.map(chunkOf), sizeLine(length + blanks + 1)];
  const name = [...before, bytes.subarray(0, at), Buffer.alloc(blanks, " ")];
  body.framed = Buffer.concat([...name, bytes.subarray(at + 1)]);
  body.framedSplit = name.reduce((sum, part) => sum + part.length, 0);
}
