/**
 * Memory of one ring: a control block and a power-of-two data area in one SharedArrayBuffer.
 *
 *   byte   cell (Int32)    written by  meaning
 *   0      TAIL            producer    bytes published since the start, modulo 2^32
 *   64     HEAD            consumer    bytes released since the start, modulo 2^32
 *   128    WANTS_SPACE     both        1: the producer has data queued; the consumer, after it released
 *                                      some, sets 0 and rings the producer's bell
 *   256    data area
 *
 * Each cell has a cache line of its own, so that the two threads do not slow each other down by
 * writing next to one another. TAIL - HEAD is the fill; positions only grow, so no slot is wasted and
 * there is no reset to race with.
 *
 * A record starts on a multiple of 8 and never wraps round the end of the area:
 *
 *   offset  bytes  field
 *   0       4      payload length in bytes
 *   4       4      type, 0 .. TYPE_MAX, plus the flag bits below
 *   8       n      payload, then up to 7 unused bytes
 *
 * Where a record does not fit before the end of the area, a padding record fills it up.
 */
export const TAIL = 0;
export const HEAD = 16;
export const WANTS_SPACE = 32;
export const CONTROL_BYTES = 256;

export const HEADER_BYTES = 8;
export const TYPE_MAX = 0xff;
/** The next record continues this one. */
export const MORE_FLAG = 0x8000_0000;
/** This record continues the one before. */
export const CONTINUED_FLAG = 0x4000_0000;
export const PADDING_TYPE = 0x2000_0000;

export const RING_BYTES_MIN = 4096;
export const RING_BYTES_MAX = 2 ** 30;

/** Cells of a bell, one Int32: see bell.ts. */
export const BELL_BYTES = 64;

/** Bytes a record with this payload takes in the data area. */
export function recordBytes(payloadBytes: number): number {
  return (HEADER_BYTES + payloadBytes + 7) & ~7;
}
