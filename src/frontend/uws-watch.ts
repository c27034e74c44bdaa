import type { HttpResponse } from "uWebSockets.js";
import type { ChunkBody } from "./frontend.js";
import { type Backlogs, StreamBacklog } from "./uws-backlog.js";
import { CORK_BYTES } from "./uws-writer.js";

/**
 * Handles of one response: the library makes one for each route that matches. The first is never
 * used up: it gets the close, and polls for writability.
 */
export type WatchHandles = HttpResponse[];
/** Reserved for the last write. */
const HANDLES_OF_END = 1;
/** The first, one for the headers, one for the first byte, and the reserve. */
export const WATCH_HANDLES = 3 + HANDLES_OF_END;
/** One more for each of the first events; 41 bytes each. */
export const STREAM_HANDLES = 64 + WATCH_HANDLES;

/** A leading zero of the first chunk's size. */
const FIRST_BYTE = "0";
/** Follows it if the watch ends without an event: together they are the last chunk. */
const END_OF_FIRST = Buffer.from("\r\n\r\n");

/**
 * A watch on the wire. Clients must see its headers before the first event, but the library ends
 * the headers of a chunked response with the first chunk only: so chunks are framed here. While
 * handles last, each writes one event verbatim. After that the library still writes header lines,
 * "name: value", any number of times: an event split at its last colon gets a blank there, which
 * JSON allows.
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
 * A watch on a keep-alive connection. Its headers are sent as a response without a body: for the
 * library the response is over, and the handle that ended it is void. Other handles of the same
 * response still write bytes verbatim, each once.
 *
 * So the library serves the next request on the connection even while the watch is open. That
 * request replaces the callbacks, so the watch is never called again; it must be detected, and its
 * connection closed, before the request writes to the connection, and before the connection's
 * memory is freed (at the end of the turn in which it closes). The write offset shows it: the
 * library sets it to 0 when a request begins, and an open watch's is never 0. To that end the first
 * byte of the body is sent with the headers, a zero: the leading zero of the first chunk's size, as
 * in "054", or, without an event, the size of the last chunk. Hence:
 *
 *   1. The write offset differs from ours exactly if another request has begun and nothing was
 *      written for it.
 *   2. A request with callbacks for its body neither writes to its connection nor closes it
 *      before all open watches were checked since it began. If the connection closes, the request
 *      is informed, and checks them, in the same turn. See WatchRegister.
 *   3. A request without a body keeps the watch's `onData`, which the library calls first. Only
 *      a response within the request's own callback is earlier; 2 applies to that, too.
 *   4. The watch checks its own offset before each write. The backlog's calls write nothing.
 */
export class LastingWatch implements WatchStream {
  readonly backlog: StreamBacklog;
  readonly #res: HttpResponse;
  readonly #spare: HttpResponse[];
  /** Body bytes written through handles, sent or still buffered by the library. */
  #offset = FIRST_BYTE.length;
  #hasWritten = false;
  #isCut = false;

  /**
   * The watch's own request must have ended.
   *
   * @param head as in `sendResponse`
   * @param onGone the client has disconnected
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
    // Both `end` calls dropped the callbacks.
    res.onAborted(onGone);
    res.onData(onIntruder);
    this.backlog = new StreamBacklog(res, backlogs);
    // They also started the library's timer; a writable event stops it.
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

  /** Uses up one handle. The library buffers what the socket does not accept. */
  #write(bytes: Uint8Array): void {
    const handle = this.#spare.pop() as HttpResponse;
    handle.cork(() => handle.end(bytes));
    this.#offset += bytes.length;
  }
}

/**
 * A watch whose connection closes with it: the client wants that, or handles are lacking. For the
 * library the response never ends, so it also handles a request that comes too early.
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
/** The end of a chunk and of the stream, less the line end that the library writes. */
const END_OF_LAST = Buffer.from("\r\n0\r\n");
/**
 * The last field's name in each node, then any field's name. Quotes inside strings are escaped, so
 * neither matches within one.
 */
const SPLITS = [Buffer.from('"createdIndex":'), Buffer.from('":')];
/** Room for a size, ": ", and line ends. */
const LINE_BYTES = 32;

function sizeLine(bytes: number): Buffer {
  return Buffer.from(`${bytes.toString(16)}\r\n`);
}

function chunkOf(bytes: Uint8Array): Buffer {
  return Buffer.concat([sizeLine(bytes.length), bytes, LINE_END]);
}

/** @param last written after the event @returns false for bytes that are not an event */
function writeEvent(res: HttpResponse, body: ChunkBody, last?: Buffer): boolean {
  if (body.framed === undefined) frameEvent(body);
  const { framed, framedSplit } = body;
  if (framed === undefined || framedSplit === undefined) return false;
  const name = framed.subarray(0, framedSplit);
  const value = framed.subarray(framedSplit);
  const line = [name, last === undefined ? value : Buffer.concat([value, last])];
  // The type declarations allow strings only.
  res.cork(() => res.writeHeader(...(line as unknown as [string, string])));
  return true;
}

/**
 * Frames one chunk: a header line's name up to `framedSplit`, then its value. If it exceeds a cork,
 * blanks make the name alone exceed one, as required by the rule in uws-writer.ts.
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

/** For requests whose connection is proven, or known, not to be an open watch's. */
export const PROVEN = -1;

/**
 * The open watches of a frontend. Detects those that lost their connection to another request: a
 * handle must not be used once its connection's memory is freed.
 *
 * One check of all watches covers every request begun so far, on any connection. So a batch of
 * responses needs one check, and requests begun while no watch is open need none.
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

  /** No handle is used after this. */
  clear(): void {
    this.#onLost.clear();
  }

  /** Call when a request begins. @returns the argument for `prove` */
  begin(): number {
    return this.#onLost.size > 0 ? this.#looks : PROVEN;
  }

  /** Afterwards the connection of a request begun then is not an open watch's, or is closed. */
  prove(begun: number): void {
    if (begun !== this.#looks) return;
    this.#looks++;
    for (const [watch, onLost] of this.#onLost) {
      if (watch.isLost) onLost();
    }
  }
}
