import { assert } from "../lib/assert.js";

/**
 * Memory of one ring: a control block and a power-of-two data area in one SharedArrayBuffer.
 *
 *   byte   cell (Int32)    written by  meaning
 *   0      TAIL            producer    bytes published since the start, modulo 2^32
 *   64     HEAD            consumer    bytes released since the start, modulo 2^32
 *   128    WANTS_SPACE     both        1: the producer has data queued; the consumer, after a
 *                                      release, sets 0 and rings the producer's bell
 *   192    POISONS         creator     1: tests only; the consumer overwrites each payload after
 *                                      its callback, so a view kept past it reads POISON_BYTE
 *   256    data area
 *
 * Each cell has its own cache line, as threads that write to one line slow each other down. TAIL -
 * HEAD is the fill. Positions only grow, so no slot is wasted, and there is no reset to race with.
 *
 * A record starts on a multiple of 8 and never wraps around the end of the area:
 *
 *   offset  bytes  field
 *   0       4      payload length in bytes
 *   4       4      type, 0 .. TYPE_MAX, plus the flag bits below; or PADDING_TYPE
 *   8       n      payload, then up to 7 unused bytes
 *
 * Where a record does not fit before the end of the area, a padding record fills the gap.
 */
export const TAIL = 0;
export const HEAD = 16;
export const WANTS_SPACE = 32;
export const POISONS = 48;
export const CONTROL_BYTES = 256;

export const HEADER_BYTES = 8;
export const TYPE_MAX = 0xff;
/** The message continues in the next record. */
export const MORE_FLAG = 0x8000_0000;
/** The message began in an earlier record. */
export const CONTINUED_FLAG = 0x4000_0000;
export const PADDING_TYPE = 0x2000_0000;

/** Unlikely in data: as u32 a huge length, as f64 a huge negative number, and invalid as UTF-8. */
export const POISON_BYTE = 0xdb;

export const RING_BYTES_MIN = 4096;
export const RING_BYTES_MAX = 2 ** 30;

/** Memory of a bell, one Int32: see bell.ts. */
export const BELL_BYTES = 64;

const CELL_BYTES = 4;
const CACHE_LINE_BYTES = 64;
const RECORD_ALIGN_BYTES = 8;

/** Size in the data area of a record with this payload. */
export function recordBytes(payloadBytes: number): number {
  return (HEADER_BYTES + payloadBytes + RECORD_ALIGN_BYTES - 1) & -RECORD_ALIGN_BYTES;
}

function isPowerOfTwo(value: number): boolean {
  return value > 0 && Number.isInteger(Math.log2(value));
}

// The layout drawn above.
assert(TAIL * CELL_BYTES === 0, "TAIL is at byte 0");
assert(HEAD * CELL_BYTES === 64, "HEAD is at byte 64");
assert(WANTS_SPACE * CELL_BYTES === 128, "WANTS_SPACE is at byte 128");
assert(POISONS * CELL_BYTES === 192, "POISONS is at byte 192");
assert(CONTROL_BYTES === 256, "the data area is at byte 256");
assert(HEADER_BYTES === 8, "a payload is 8 bytes into its record");

// The purpose of that layout.
assert((HEAD - TAIL) * CELL_BYTES >= CACHE_LINE_BYTES, "HEAD shares no cache line with TAIL");
assert(
  (WANTS_SPACE - HEAD) * CELL_BYTES >= CACHE_LINE_BYTES,
  "WANTS_SPACE shares no cache line with HEAD",
);
assert(
  (POISONS - WANTS_SPACE) * CELL_BYTES >= CACHE_LINE_BYTES,
  "POISONS shares no cache line with WANTS_SPACE",
);
assert(
  CONTROL_BYTES - POISONS * CELL_BYTES >= CACHE_LINE_BYTES,
  "the data area shares no cache line with the cells",
);
assert(CONTROL_BYTES % CACHE_LINE_BYTES === 0, "the data area begins on a cache line");
assert(BELL_BYTES >= CACHE_LINE_BYTES, "a bell has a cache line of its own");

// Records. A gap before the end of the area is a multiple of the alignment, and 0 needs no padding.
assert(isPowerOfTwo(RECORD_ALIGN_BYTES), "records are aligned to a power of two");
assert(HEADER_BYTES === 2 * CELL_BYTES, "a header is a length and a type");
assert(HEADER_BYTES <= RECORD_ALIGN_BYTES, "the smallest gap has room for a padding record");
assert(HEADER_BYTES % RECORD_ALIGN_BYTES === 0, "payloads are aligned as records are");
assert(RING_BYTES_MIN % RECORD_ALIGN_BYTES === 0, "records end exactly at the end of the area");
assert(recordBytes(0) === HEADER_BYTES, "an empty record is a header");
assert(recordBytes(1) === HEADER_BYTES + RECORD_ALIGN_BYTES, "a record's size is rounded up");

// Types. `type <= TYPE_MAX` alone distinguishes whole messages from all other records.
assert(isPowerOfTwo(TYPE_MAX + 1), "TYPE_MAX is also the mask of a type");
for (const bit of [MORE_FLAG, CONTINUED_FLAG, PADDING_TYPE]) {
  assert(isPowerOfTwo(bit) && bit > TYPE_MAX && bit < 2 ** 32, "a flag is one bit above the types");
}
assert(
  new Set([MORE_FLAG, CONTINUED_FLAG, PADDING_TYPE]).size === 3,
  "padding is told from every fragment",
);

// Positions are u32, masked with an Int32 to get offsets into the area.
assert(isPowerOfTwo(RING_BYTES_MIN) && isPowerOfTwo(RING_BYTES_MAX), "ring sizes: powers of two");
assert(RING_BYTES_MAX < 2 ** 31, "masks and fills are positive as Int32");
