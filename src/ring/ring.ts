import { assert } from "../lib/assert.js";
import type { Bell } from "./bell.js";
import {
  CONTROL_BYTES,
  HEAD,
  HEADER_BYTES,
  PADDING_TYPE,
  POISON_BYTE,
  POISONS,
  RING_BYTES_MAX,
  RING_BYTES_MIN,
  recordBytes,
  TAIL,
  WANTS_SPACE,
} from "./layout.js";

/** Allocates a ring's memory. @param bytes size of the data area, a power of two */
export function createRing(bytes: number): SharedArrayBuffer {
  assert(bytes >= RING_BYTES_MIN && bytes <= RING_BYTES_MAX, "a ring is 4 KiB to 1 GiB");
  assert((bytes & (bytes - 1)) === 0, "a ring's size is a power of two");
  return new SharedArrayBuffer(CONTROL_BYTES + bytes);
}

/** Bytes published and not yet released, for metrics. Any thread may call it. */
export function ringDepthBytes(memory: SharedArrayBuffer): number {
  const control = new Int32Array(memory, 0, CONTROL_BYTES / 4);
  // HEAD first: it never passes TAIL, but may pass a TAIL that was read earlier.
  const head = Atomics.load(control, HEAD);
  const depthBytes = (Atomics.load(control, TAIL) - head) >>> 0;
  return Math.min(depthBytes, memory.byteLength - CONTROL_BYTES);
}

/**
 * For tests, before the consumer's end is created: each payload is overwritten after its callback.
 * A view kept past the callback then reads POISON_BYTE at once, and not only after the producer has
 * wrapped around to it.
 */
export function poisonConsumed(memory: SharedArrayBuffer): void {
  assert(memory.byteLength > CONTROL_BYTES, "the memory is that of a ring");
  Atomics.store(new Int32Array(memory, 0, CONTROL_BYTES / 4), POISONS, 1);
}

/**
 * Common part of both ends. Positions are u32 stored as Int32, so only differences can be compared.
 */
class RingMemory {
  protected readonly control: Int32Array<SharedArrayBuffer>;
  protected readonly words: Uint32Array<SharedArrayBuffer>;
  protected readonly mask: number;
  /** The data area: record payloads are read and written in place. */
  readonly bytes: Buffer;
  readonly view: DataView;

  constructor(memory: SharedArrayBuffer) {
    const bytes = memory.byteLength - CONTROL_BYTES;
    assert(bytes >= RING_BYTES_MIN && (bytes & (bytes - 1)) === 0, "the memory is that of a ring");
    this.control = new Int32Array(memory, 0, CONTROL_BYTES / 4);
    this.words = new Uint32Array(memory, CONTROL_BYTES);
    this.bytes = Buffer.from(memory, CONTROL_BYTES, bytes);
    this.view = new DataView(memory, CONTROL_BYTES, bytes);
    this.mask = bytes - 1;
  }

  get capacityBytes(): number {
    return this.mask + 1;
  }

  /** Largest payload of a record: it fits an empty ring at any position, with padding before it. */
  get payloadBytesMax(): number {
    return this.capacityBytes / 2 - HEADER_BYTES;
  }
}

/** The producer's end, for one thread only. */
export class RingWriter extends RingMemory {
  readonly #consumerBell: Bell;
  #tail: number;
  #published: number;
  /** HEAD as last read. It only grows, so a stale value is only pessimistic. */
  #headSeen: number;
  /** Size of the reserved payload; -1 if none is reserved. */
  #reservedBytes = -1;

  constructor(memory: SharedArrayBuffer, consumerBell: Bell) {
    super(memory);
    this.#consumerBell = consumerBell;
    this.#tail = Atomics.load(this.control, TAIL);
    this.#published = this.#tail;
    this.#headSeen = Atomics.load(this.control, HEAD);
    assert(this.#fill() <= this.capacityBytes, "a ring holds no more than its size");
  }

  /**
   * Reserves room for a record.
   *
   * @returns offset of its payload in `bytes`, a multiple of 8, or -1 while the ring is too full
   */
  reserve(payloadBytes: number): number {
    assert(payloadBytes >= 0 && payloadBytes <= this.payloadBytesMax, "the record fits the ring");
    const need = recordBytes(payloadBytes);
    const at = this.#tail & this.mask;
    const toEnd = this.capacityBytes - at;
    const padding = need > toEnd ? toEnd : 0;
    if (this.#fill() + padding + need > this.capacityBytes) {
      this.#headSeen = Atomics.load(this.control, HEAD);
      if (this.#fill() + padding + need > this.capacityBytes) return -1;
    }
    assert((at & 7) === 0, "a record begins on a multiple of 8");
    this.#reservedBytes = payloadBytes;
    if (padding === 0) return at + HEADER_BYTES;
    this.words[at >>> 2] = padding - HEADER_BYTES;
    this.words[(at >>> 2) + 1] = PADDING_TYPE;
    this.#tail = (this.#tail + padding) | 0;
    return HEADER_BYTES;
  }

  /** Whether reserve(payloadBytes) would succeed now; rereads HEAD. */
  hasRoom(payloadBytes: number): boolean {
    assert(payloadBytes <= this.payloadBytesMax, "the record fits the ring once it is empty");
    const need = recordBytes(payloadBytes);
    const toEnd = this.capacityBytes - (this.#tail & this.mask);
    this.#headSeen = Atomics.load(this.control, HEAD);
    return this.#fill() + need + (need > toEnd ? toEnd : 0) <= this.capacityBytes;
  }

  /** Bytes that the consumer has not released, with what is not published; rereads HEAD. */
  get unreadBytes(): number {
    this.#headSeen = Atomics.load(this.control, HEAD);
    return this.#fill();
  }

  /**
   * Completes the reserved record, with at most the reserved bytes. Not visible before publish().
   */
  commit(type: number, payloadBytes: number): void {
    assert(payloadBytes >= 0 && payloadBytes <= this.#reservedBytes, "a record is within its room");
    assert(type !== PADDING_TYPE, "a reader skips nothing that was written");
    this.#reservedBytes = -1;
    const word = (this.#tail & this.mask) >>> 2;
    this.words[word] = payloadBytes;
    this.words[word + 1] = type;
    this.#tail = (this.#tail + recordBytes(payloadBytes)) | 0;
  }

  /**
   * Once per batch: makes all committed records visible to the consumer, and wakes it if it sleeps.
   */
  publish(): void {
    if (this.#tail === this.#published) return;
    assert(this.#fill() <= this.capacityBytes, "nothing that is still read is overwritten");
    this.#published = this.#tail;
    Atomics.store(this.control, TAIL, this.#tail); // Publishes all writes above.
    assert(this.#reservedBytes < 0, "a record is complete before it is published");
    this.#consumerBell.ring();
  }

  /**
   * Asks the consumer to ring our bell after its next release. Check for room again afterwards, as
   * the release may have come before the request.
   */
  wantSpace(): void {
    Atomics.store(this.control, WANTS_SPACE, 1);
  }

  #fill(): number {
    return (this.#tail - this.#headSeen) >>> 0;
  }
}

/** Receives one record in place; its bytes are valid only until it returns. */
export type OnRecord = (type: number, at: number, payloadBytes: number) => void;

/** The consumer's end, for one thread only. */
export class RingReader extends RingMemory {
  readonly #producerBell: Bell;
  readonly #poisons: boolean;
  #head: number;
  #isDraining = false;
  /** Limit of the current batch. */
  #recordsMax = 0;

  constructor(memory: SharedArrayBuffer, producerBell: Bell) {
    super(memory);
    this.#producerBell = producerBell;
    this.#poisons = Atomics.load(this.control, POISONS) === 1;
    this.#head = Atomics.load(this.control, HEAD);
    const fill = (Atomics.load(this.control, TAIL) - this.#head) >>> 0;
    assert(fill <= this.capacityBytes, "a ring holds no more than its size");
  }

  hasWork(): boolean {
    return Atomics.load(this.control, TAIL) !== this.#head;
  }

  /**
   * Delivers up to `recordsMax` records in order, then releases them with one store.
   *
   * A record counts as consumed before its callback runs. If the callback throws, that record and
   * those before it are released, the rest stays, and the error propagates: a record may be handled
   * only in part, but never twice, and one that always throws cannot block those after it. Must not
   * be called from within its own callback.
   *
   * @returns number of records delivered
   */
  drain(onRecord: OnRecord, recordsMax: number): number {
    assert(!this.#isDraining, "drain() would release the record that its caller still reads");
    assert(recordsMax >= 0, "a limit is not negative");
    this.#isDraining = true;
    this.#recordsMax = recordsMax;
    const handOut = this.#poisons ? this.#poisonAfter(onRecord) : onRecord;
    const tail = Atomics.load(this.control, TAIL);
    const fill = (tail - this.#head) >>> 0;
    assert(fill <= this.capacityBytes, "nothing that is still read is overwritten");
    let taken = 0;
    try {
      while (this.#head !== tail && taken < this.#recordsMax) {
        const at = this.#head & this.mask;
        const payloadBytes = this.words[at >>> 2] as number;
        const type = this.words[(at >>> 2) + 1] as number;
        const next = (this.#head + recordBytes(payloadBytes)) | 0;
        assert(((tail - next) | 0) >= 0, "a record ends before TAIL");
        this.#head = next;
        if (type === PADDING_TYPE) continue;
        handOut(type, at + HEADER_BYTES, payloadBytes);
        taken++;
      }
    } finally {
      this.#isDraining = false;
      this.#release();
    }
    return taken;
  }

  /** Within a callback: makes its record the last of the batch; later ones stay in the ring. */
  endBatch(): void {
    assert(this.#isDraining, "a batch is being handed out");
    this.#recordsMax = 0;
  }

  #poisonAfter(onRecord: OnRecord): OnRecord {
    return (type, at, payloadBytes) => {
      try {
        onRecord(type, at, payloadBytes);
      } finally {
        this.bytes.fill(POISON_BYTE, at, at + payloadBytes);
      }
    };
  }

  #release(): void {
    const released = (this.#head - Atomics.load(this.control, HEAD)) >>> 0;
    if (released === 0) return;
    assert(released <= this.capacityBytes, "no more is released than the ring holds");
    Atomics.store(this.control, HEAD, this.#head);
    if (Atomics.load(this.control, WANTS_SPACE) === 0) return;
    Atomics.store(this.control, WANTS_SPACE, 0);
    this.#producerBell.ring();
  }
}
