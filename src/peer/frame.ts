import { assert } from "../lib/assert.js";
import { RingdError } from "../lib/errors.js";
import { MESSAGE_BYTES_MAX } from "../ring/fragments.js";
import { crc32c } from "../storage/crc32c.js";

/**
 * Frame of a stream between two members. Integers are u32 little-endian.
 *
 *   offset  bytes  field
 *   0       4      magic     "ring"
 *   4       4      length    of the payload, 0 .. PAYLOAD_BYTES_MAX
 *   8       4      kind      FrameKind
 *   12      4      crc       CRC-32C of the payload
 *   16      4      headCrc   CRC-32C of bytes 0 .. 15
 *   20      n      payload   an encoded raft message; of a ping nothing, or PROBE_BYTES that come
 *                            back
 *
 * TCP's checksum misses one damaged segment in some millions, and damage that gets into a log is
 * permanent. The header has its own checksum, so that a damaged length is never trusted.
 */
export const FRAME_HEAD_BYTES = 20;
/** A ping of the dialling side: a number, which the peer echoes if it can. */
export const PROBE_BYTES = 4;
export const FRAME_PAYLOAD_BYTES_MAX = MESSAGE_BYTES_MAX;
const MAGIC = 0x676e6972;
const CRC_AT = 12;
const HEAD_CRC_AT = 16;
/**
 * A payload's buffer starts at this size and doubles as bytes arrive, whatever length is declared.
 */
const FIRST_ROOM_BYTES = 256 * 1024;
/** Frames of a batch share memory blocks of this size. */
const SLAB_BYTES = 256 * 1024;

export const FrameKind = { message: 1, ping: 2 } as const;
export type FrameKind = (typeof FrameKind)[keyof typeof FrameKind];

/** Bytes that are not a frame. The rest of the stream is unreadable, too. */
export class FrameError extends RingdError {
  override readonly name = "FrameError";
  readonly code = "FRAME_MALFORMED";

  constructor(why: string) {
    super(`Cannot read frame: ${why}`);
  }
}

export interface FrameHead {
  readonly kind: FrameKind;
  readonly length: number;
  readonly crc: number;
}

/** @param payload follows the header; not copied */
export function encodeFrameHead(
  target: Buffer,
  at: number,
  kind: FrameKind,
  payload: Uint8Array,
): void {
  assert(payload.length <= FRAME_PAYLOAD_BYTES_MAX, "a frame's payload is within its limit");
  target.writeUInt32LE(MAGIC, at);
  target.writeUInt32LE(payload.length, at + 4);
  target.writeUInt32LE(kind, at + 8);
  target.writeUInt32LE(crc32c(payload, 0), at + CRC_AT);
  target.writeUInt32LE(crc32c(target.subarray(at, at + HEAD_CRC_AT), 0), at + HEAD_CRC_AT);
}

/** @param at offset of FRAME_HEAD_BYTES complete bytes. @throws FrameError */
function decodeFrameHead(bytes: Buffer, at: number): FrameHead {
  if (bytes.readUInt32LE(at) !== MAGIC) throw new FrameError("wrong magic");
  if (crc32c(bytes.subarray(at, at + HEAD_CRC_AT), 0) !== bytes.readUInt32LE(at + HEAD_CRC_AT)) {
    throw new FrameError("header checksum differs");
  }
  const length = bytes.readUInt32LE(at + 4);
  const kind = bytes.readUInt32LE(at + 8);
  if (length > FRAME_PAYLOAD_BYTES_MAX) {
    throw new FrameError(`length ${length} is above ${FRAME_PAYLOAD_BYTES_MAX}`);
  }
  if (kind !== FrameKind.message && kind !== FrameKind.ping) {
    throw new FrameError(`unknown kind ${kind}`);
  }
  return { kind, length, crc: bytes.readUInt32LE(at + CRC_AT) };
}

/** Called with each verified frame; `payload` is valid until return. */
export type OnFrame = (kind: FrameKind, payload: Buffer) => void;

/**
 * Splits a stream into frames, however it is fragmented. A frame within one piece is not copied.
 */
export class FrameReader {
  readonly #onFrame: OnFrame;
  readonly #head = Buffer.alloc(FRAME_HEAD_BYTES);
  #headBytes = 0;
  /** Header of the frame whose payload is incoming. */
  #open: FrameHead | undefined;
  #payload = Buffer.alloc(0);
  #payloadBytes = 0;

  constructor(onFrame: OnFrame) {
    this.#onFrame = onFrame;
  }

  /** @throws FrameError, and errors of `onFrame`; the stream is unusable then */
  push(piece: Buffer): void {
    let at = 0;
    while (at < piece.length) {
      at = this.#open === undefined ? this.#takeHead(piece, at) : this.#takePayload(piece, at);
    }
  }

  #takeHead(piece: Buffer, from: number): number {
    let at = from;
    let head: FrameHead;
    if (this.#headBytes === 0 && piece.length - at >= FRAME_HEAD_BYTES) {
      head = decodeFrameHead(piece, at);
      at += FRAME_HEAD_BYTES;
    } else {
      const taken = piece.copy(this.#head, this.#headBytes, at);
      this.#headBytes += taken;
      at += taken;
      if (this.#headBytes < FRAME_HEAD_BYTES) return at;
      this.#headBytes = 0;
      head = decodeFrameHead(this.#head, 0);
    }
    if (piece.length - at >= head.length) {
      this.#deliver(head, piece.subarray(at, at + head.length));
      return at + head.length;
    }
    this.#open = head;
    this.#payload = Buffer.allocUnsafeSlow(Math.min(head.length, FIRST_ROOM_BYTES));
    this.#payloadBytes = 0;
    return at;
  }

  #takePayload(piece: Buffer, at: number): number {
    const head = this.#open;
    assert(head !== undefined, "a frame is open");
    const bytes = Math.min(head.length - this.#payloadBytes, piece.length - at);
    const need = this.#payloadBytes + bytes;
    if (need > this.#payload.length) {
      const room = Math.min(head.length, Math.max(need, 2 * this.#payload.length));
      const grown = Buffer.allocUnsafeSlow(room);
      this.#payload.copy(grown, 0, 0, this.#payloadBytes);
      this.#payload = grown;
    }
    piece.copy(this.#payload, this.#payloadBytes, at, at + bytes);
    this.#payloadBytes += bytes;
    if (this.#payloadBytes === head.length) {
      const payload = this.#payload;
      this.#open = undefined;
      this.#payload = Buffer.alloc(0);
      this.#deliver(head, payload);
    }
    return at + bytes;
  }

  #deliver(head: FrameHead, payload: Buffer): void {
    if (crc32c(payload, 0) !== head.crc) throw new FrameError("payload checksum differs");
    this.#onFrame(head.kind, payload);
  }
}

/** Collects the frames of a batch for one write to the socket. Copies each once. */
export class FrameBatch {
  #slab = Buffer.alloc(0);
  #from = 0;
  #to = 0;
  #full: Buffer[] = [];
  #fullBytes = 0;

  /** Of all frames that `take` would return. */
  get bytes(): number {
    return this.#fullBytes + this.#to - this.#from;
  }

  add(kind: FrameKind, source: Uint8Array, at: number, length: number): void {
    const need = FRAME_HEAD_BYTES + length;
    if (need > this.#slab.length - this.#to) {
      this.#closeSlab();
      this.#slab = Buffer.allocUnsafeSlow(Math.max(need, SLAB_BYTES));
      this.#from = 0;
      this.#to = 0;
    }
    const payloadAt = this.#to + FRAME_HEAD_BYTES;
    const payload = this.#slab.subarray(payloadAt, payloadAt + length);
    payload.set(source.subarray(at, at + length));
    encodeFrameHead(this.#slab, this.#to, kind, payload);
    this.#to += need;
  }

  /** The frames in order. Their memory is not reused. */
  take(): readonly Buffer[] {
    this.#closeSlab();
    const full = this.#full;
    this.#full = [];
    this.#fullBytes = 0;
    return full;
  }

  #closeSlab(): void {
    if (this.#to === this.#from) return;
    this.#full.push(this.#slab.subarray(this.#from, this.#to));
    this.#fullBytes += this.#to - this.#from;
    this.#from = this.#to;
  }
}
