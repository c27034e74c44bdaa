import type { HttpResponse } from "uWebSockets.js";

/**
 * The way of bytes to a socket of uWebSockets.js. While a socket is corked, the library collects
 * what is written in a buffer of 16 KiB. A write that does not fit first sends what was collected;
 * if the socket takes less than that, the library keeps what was collected and drops *this* write.
 * So the rule is:
 *
 *   All that one cork writes fits into its buffer, or the cork's first write is larger than the
 *   buffer.
 *
 * The first is sent or kept as a whole; the second goes to the socket, and what that does not take
 * is kept (`write`, `end`, `writeHeader`) or left to us (`tryEnd`).
 */

/** What the library collects while a socket is corked. */
export const CORK_BYTES = 16 * 1024;
/** At most so much of a body in one cork; the rest of its buffer is for a head and for framing. */
export const PIECE_BYTES = 12_000;
/**
 * Of a head, beside which a whole piece has room; "Date", "Content-Length" and framing take the
 * rest.
 */
const HEAD_BYTES_MAX = CORK_BYTES - PIECE_BYTES - 256;

/**
 * An answer whose length is known. @param head status and header lines, without the last line end
 */
export function sendResponse(res: HttpResponse, head: string, body: Uint8Array): void {
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
  // The bytes are the caller's only until this returns.
  const start = res.getWriteOffset();
  const rest = Buffer.from(body.subarray(start));
  res.onWritable(() => sendRest(res, rest, start));
}

/**
 * Sends what the socket takes. The library's timer runs while it takes nothing.
 *
 * @param bytes of the answer from `start` on
 * @returns whether that was all, after which the response is done
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
 * Part of a chunked answer. @param head as above, before the first one @returns false if it has to
 * wait
 */
export function writeChunks(
  res: HttpResponse,
  head: string | undefined,
  bytes: Uint8Array,
  isEnd: boolean,
): boolean {
  let hasRoom = true;
  let at = 0;
  do {
    const piece = bytes.subarray(at, at + PIECE_BYTES);
    const isFirst = at === 0;
    at += piece.length;
    res.cork(() => {
      if (isFirst && head !== undefined) res.writeStatus(head);
      if (isEnd && at === bytes.length) res.end(piece);
      else hasRoom = res.write(piece);
    });
  } while (at < bytes.length);
  return hasRoom;
}
