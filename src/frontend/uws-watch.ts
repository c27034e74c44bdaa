import type { HttpResponse } from "uWebSockets.js";
import type { ChunkBody } from "./frontend.js";
import { type Backlogs, StreamBacklog } from "./uws-backlog.js";
import { CORK_BYTES } from "./uws-writer.js";

/**
 * Handles of one response: the library makes one for each route that a request passes. The first is
 * never used up: it is told of the close, and asks for room.
 */
export type WatchHandles = HttpResponse[];
/** Kept for the last write. */
const HANDLES_OF_END = 1;
/** The first, one for the head and one for the first byte. */
export const WATCH_HANDLES = 3 + HANDLES_OF_END;
/** One more for each event before the last, as far as they last: 41 bytes each. */
export const STREAM_HANDLES = 64 + WATCH_HANDLES;

/** A leading zero of the first chunk's size. */
const FIRST_BYTE = "0";
/** What follows it if the watch ends without an event: that makes it the last chunk. */
const END_OF_FIRST = Buffer.from("\r\n\r\n");

/**
 * A watch on the wire: its head must be seen before the first event, and the library ends the head
 * of a chunked response only with the first chunk. So chunks are framed here. While there are
 * handles, one of them writes an event as it is. After that, what the library still writes, any
 * number of times, is a header line, "name: value": that puts a blank after the event's last colon.
 * JSON allows it there.
 */
export interface WatchStream {
  readonly backlog: StreamBacklog;
  /** @returns false if the connection is to be cut */
  event(body: ChunkBody): boolean;
  /** @returns false if the connection is to be cut */
  end(body: ChunkBody): boolean;
  cut(): void;
}

/**
 * The connection can be used again. The head goes out as that of a response without a body: for the
 * library the response is over, and the handle that ended it is void. Others of the same response
 * still write bytes as they are, each of them once.
 *
 * The library therefore serves the next request on the connection even while the watch is open.
 * That request replaces the callbacks, so nothing calls the watch any more; it must be found, and
 * its connection closed, before the request writes to the connection and before the connection's
 * memory is freed, at the end of the event loop's turn in which it closes. The write offset tells:
 * the library sets it to 0 when a request begins, and that of an open watch is never 0. To have it
 * so from the start, the first byte of the body leaves with the head, a zero. It is the leading
 * zero of the first chunk's size, as in "054", or, if no event comes, the size of the last chunk.
 * Hence:
 *
 *   1. The write offset is not ours exactly when another request has begun and nothing was written
 *      for it.
 *   2. A request with callbacks for its body writes nothing to its connection and closes nothing
 *      before all open watches were looked at since it began. Nor does the connection's close go by
 *      without that: it is such a request's, and is told to it in the same turn. See WatchRegister.
 *   3. A request without a body leaves `onData` to the watch, and the library calls that before it
 *      does anything else. Only a response within the request's own callback comes earlier; 2 holds
 *      for that, too.
 *   4. The watch looks at its own offset before each write. The backlog's calls write nothing of
 *      their own.
 */
export class LastingWatch implements WatchStream {
  readonly backlog: StreamBacklog;
  readonly #res: HttpResponse;
  readonly #spare: HttpResponse[];
  /**
   * Bytes written through handles after the head, whether the socket took them or the library keeps
   * them.
   */
  #offset = FIRST_BYTE.length;
  #hasWritten = false;
  #isCut = false;

  /**
   * The watch's own request must have ended.
   *
   * @param head as in `writeAnswer`
   * @param onGone the client has closed
   * @param onIntruder a request without a body has begun on the connection
   */
  constructor(
    handles: WatchHandles,
    backlogs: Backlogs,
    head: string,
    onGone: () => void,
    onIntruder: () => void,
  ) {
    const [res, first, second, ...spare] = handles as [
      HttpResponse,
      HttpResponse,
      HttpResponse,
      ...HttpResponse[],
    ];
    this.#res = res;
    this.#spare = spare;
    first.cork(() => {
      first.writeStatus(`${head}\r\nTransfer-Encoding: chunked`);
      first.endWithoutBody();
      second.end(FIRST_BYTE);
    });
    // Each of the two ends dropped the callbacks.
    res.onAborted(onGone);
    res.onData(onIntruder);
    this.backlog = new StreamBacklog(res, backlogs);
    // They also started the library's timer, which a writable event stops.
    this.backlog.askForRoom();
  }

  /** Another request took over the connection. */
  get isLost(): boolean {
    return this.#res.getWriteOffset() !== this.#offset;
  }

  event(body: ChunkBody): boolean {
    if (this.isLost) return false;
    this.#hasWritten = true;
    if (this.#spare.length <= HANDLES_OF_END) return writeEvent(this.#res, body);
    body.plain ??= chunkOf(body.bytes);
    this.#write(body.plain);
    return true;
  }

  end(body: ChunkBody): boolean {
    if (this.isLost) return false;
    this.backlog.close();
    if (body.bytes.length === 0) this.#write(this.#hasWritten ? LAST_CHUNK : END_OF_FIRST);
    else {
      body.plain ??= chunkOf(body.bytes);
      body.framedLast ??= Buffer.concat([body.plain, LAST_CHUNK]);
      this.#write(body.framedLast);
    }
    return true;
  }

  cut(): void {
    if (this.#isCut) return;
    this.#isCut = true;
    this.#res.close();
  }

  /** Takes a handle. What the socket does not take, the library keeps. */
  #write(bytes: Uint8Array): void {
    const handle = this.#spare.pop() as HttpResponse;
    handle.cork(() => handle.end(bytes));
    this.#offset += bytes.length;
  }
}

/**
 * The connection closes with the watch: where the client wants it, or there are no further handles.
 * For the library the answer never ends, and a request that comes before the end is its business.
 */
export class ClosingWatch implements WatchStream {
  readonly backlog: StreamBacklog;
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
 * One chunk: up to `framedSplit` the name of a header line, then its value. If it does not fit into
 * a cork, blanks make the name alone too large for one, as the writer's rule wants it.
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

/** Of a request that no watch can be behind, or of which that was found out. */
export const PROVEN = -1;

/**
 * The open watches of a frontend, and what finds those that lost their connection to another
 * request. A handle must not be used any more once its connection's memory is free.
 *
 * All are looked at, but not for each request: one look proves for all requests that have begun by
 * then, on whatever connections, that no watch is left behind them. So a batch of responses needs
 * one, and what comes in while no watch is open needs none.
 */
export class WatchRegister {
  readonly #onLost = new Map<LastingWatch, () => void>();
  #looks = 0;

  /** @param onLost closes the connection */
  add(watch: LastingWatch, onLost: () => void): void {
    this.#onLost.set(watch, onLost);
  }

  delete(watch: WatchStream): void {
    this.#onLost.delete(watch as LastingWatch);
  }

  /** No handle is used any more. */
  clear(): void {
    this.#onLost.clear();
  }

  /** @returns for `prove`: when a request begins */
  begin(): number {
    return this.#onLost.size > 0 ? this.#looks : PROVEN;
  }

  /**
   * After this the connection of a request that began then is not that of an open watch, or is
   * closed.
   */
  prove(begun: number): void {
    if (begun !== this.#looks) return;
    this.#looks++;
    for (const [watch, onLost] of this.#onLost) {
      if (watch.isLost) onLost();
    }
  }
}
