import { assert } from "../lib/assert.js";
import { RingdError } from "../lib/errors.js";
import { MESSAGE_BYTES_MAX } from "../ring/fragments.js";
import { crc32c } from "../storage/crc32c.js";

/**
 * A frame of a stream between two members. Integers are u32 little-endian.
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
 * TCP's own checksum lets one damaged segment in some millions through; what gets into a log by
 * such an accident stays. The head has a checksum of its own so that a damaged length is never
 * believed.
 */
export const FRAME_HEAD_BYTES = 20;
/** A ping of the dialling side: a number, which the other side sends back if it can. */
export const PROBE_BYTES = 4;
export const FRAME_PAYLOAD_BYTES_MAX = MESSAGE_BYTES_MAX;
const MAGIC = 0x676e6972;
const CRC_AT = 12;
const HEAD_CRC_AT = 16;
/** Room for a payload grows with what really arrives, from here on by doubling. */
const FIRST_ROOM_BYTES = 256 * 1024;
/** Frames of a batch are laid side by side in memory of this size. */
const SLAB_BYTES = 256 * 1024;

export const FrameKind = { message: 1, ping: 2 } as const;
export type FrameKind = (typeof FrameKind)[keyof typeof FrameKind];

/** Bytes on a stream that are no frame. Nothing behind them can be read either. */
export class FrameError extends RingdError {
  override readonly name = "FrameError";
  readonly code = "FRAME_MALFORMED";

  constructor(why: string) {
    super(`Cannot read a frame: ${why}`);
  }
}

export interface FrameHead {
  readonly kind: FrameKind;
  readonly length: number;
  readonly crc: number;
}

/** @param payload whose bytes follow the head; not copied */
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

/** @param at of FRAME_HEAD_BYTES that are all there. @throws FrameError */
function decodeFrameHead(bytes: Buffer, at: number): FrameHead {
  if (bytes.readUInt32LE(at) !== MAGIC) throw new FrameError("it does not begin like one");
  if (crc32c(bytes.subarray(at, at + HEAD_CRC_AT), 0) !== bytes.readUInt32LE(at + HEAD_CRC_AT)) {
    throw new FrameError("its header's checksum differs");
  }
  const length = bytes.readUInt32LE(at + 4);
  const kind = bytes.readUInt32LE(at + 8);
  if (length > FRAME_PAYLOAD_BYTES_MAX) {
    throw new FrameError(`its length ${length} is above ${FRAME_PAYLOAD_BYTES_MAX}`);
  }
  if (kind !== FrameKind.message && kind !== FrameKind.ping) {
    throw new FrameError(`its kind ${kind} is unknown`);
  }
  return { kind, length, crc: bytes.readUInt32LE(at + CRC_AT) };
}

/** Sees one whole frame, checked; `payload` is the callee's only until it returns. */
export type OnFrame = (kind: FrameKind, payload: Buffer) => void;

/**
 * Takes a stream apart, in whatever pieces it comes. A frame that lies in one piece is not copied.
 */
export class FrameReader {
  readonly #onFrame: OnFrame;
  readonly #head = Buffer.alloc(FRAME_HEAD_BYTES);
  #headBytes = 0;
  /** Of the frame whose payload is on its way. */
  #open: FrameHead | undefined;
  #payload = Buffer.alloc(0);
  #payloadBytes = 0;

  constructor(onFrame: OnFrame) {
    this.#onFrame = onFrame;
  }

  /** @throws FrameError, and whatever `onFrame` throws; the stream is of no use then */
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
    if (crc32c(payload, 0) !== head.crc) throw new FrameError("its payload's checksum differs");
    this.#onFrame(head.kind, payload);
  }
}

/** Collects the frames of a batch, each copied once, for one write to the socket. */
export class FrameBatch {
  #slab = Buffer.alloc(0);
  #from = 0;
  #to = 0;
  #full: Buffer[] = [];
  #fullBytes = 0;

  /** Of all that take() would hand out. */
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

  /** The frames in order. Their memory is not used again. */
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
