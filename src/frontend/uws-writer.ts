import type { HttpResponse } from "uWebSockets.js";

/**
 * Writes to a socket of uWebSockets.js. While a socket is corked, the library collects writes in a
 * buffer of 16 KiB. A write that does not fit first flushes the buffer; if the socket accepts less
 * than that, the library keeps the buffer and drops *this* write. So the rule is:
 *
 *   All that one cork writes fits into its buffer, or the cork's first write is larger than the
 *   buffer.
 *
 * The former is sent or buffered as a whole; the latter goes to the socket, and the rest is
 * buffered (`write`, `end`, `writeHeader`) or left to us (`tryEnd`).
 */

/** Size of the library's cork buffer. */
export const CORK_BYTES = 16 * 1024;
/** Limit of body bytes in one cork; the rest of its buffer is for headers and framing. */
export const PIECE_BYTES = 12_000;
/** Limit of headers beside a whole piece; "Date", "Content-Length" and framing take the rest. */
const HEAD_BYTES_MAX = CORK_BYTES - PIECE_BYTES - 256;

/**
 * Sends a response of known length.
 *
 * @param head status and header lines, without the last line end; bytes are not kept
 */
export function sendResponse(res: HttpResponse, head: string | Uint8Array, body: Uint8Array): void {
  const room = head.length <= HEAD_BYTES_MAX ? PIECE_BYTES : CORK_BYTES - 256 - head.length;
  if (body.length <= room) {
    res.cork(() => {
      res.writeStatus(head);
      res.end(body);
    });
    return;
  }
  res.cork(() => {
    res.writeStatus(head);
    res.tryEnd(body.subarray(0, room), body.length);
  });
  if (sendRest(res, body, 0)) return;
  // The caller's bytes are valid only until this returns.
  const start = res.getWriteOffset();
  const rest = Buffer.from(body.subarray(start));
  res.onWritable(() => sendRest(res, rest, start));
}

/** Sends a response of known length, then closes. @param head as above */
export function sendLast(res: HttpResponse, head: string, body: Uint8Array): void {
  if (body.length > PIECE_BYTES) {
    writeChunks(res, `${head}\r\nConnection: close`, body, true, true);
    return;
  }
  res.cork(() => {
    res.writeStatus(head);
    res.end(body, true);
  });
}

/**
 * Sends as much as the socket accepts. The library's timer runs while it accepts nothing.
 *
 * @param bytes of the response from `start` on
 * @returns whether all was sent, which ends the response
 */
function sendRest(res: HttpResponse, bytes: Uint8Array, start: number): boolean {
  let isDone = false;
  const at = res.getWriteOffset() - start;
  res.cork(() => {
    [, isDone] = res.tryEnd(bytes.subarray(at), start + bytes.length);
  });
  return isDone;
}

/**
 * Sends part of a chunked response. @param head as above, before the first part only @returns false
 * if it must wait
 */
export function writeChunks(
  res: HttpResponse,
  head: string | undefined,
  bytes: Uint8Array,
  isEnd: boolean,
  closes = false,
): boolean {
  let hasRoom = true;
  let at = 0;
  do {
    const piece = bytes.subarray(at, at + PIECE_BYTES);
    const isFirst = at === 0;
    at += piece.length;
    res.cork(() => {
      if (isFirst && head !== undefined) res.writeStatus(head);
      if (isEnd && at >= bytes.length) res.end(piece, closes);
      else hasRoom = res.write(piece);
    });
  } while (at < bytes.length);
  return hasRoom;
}
