import { assert } from "../lib/assert.js";
import { CONTINUED_FLAG, MORE_FLAG, TYPE_MAX } from "./layout.js";
import { RecordCursor } from "./record-cursor.js";
import type { OnRecord, RingReader, RingWriter } from "./ring.js";

/** A message longer than one such part of its ring travels as a chain of records. */
export const FRAGMENTS_PER_RING = 8;
/**
 * The longest message: a response may contain a 10 MiB form's value twice, with each byte escaped
 * to six.
 */
export const MESSAGE_BYTES_MAX = 256 * 1024 * 1024;

interface Queued {
  readonly type: number;
  readonly payload: Buffer;
  sent: number;
}

/**
 * The producer's end of a ring for messages of any size. A message that fits is written in place;
 * long messages, and all while the ring is full, are queued and moved in order as the consumer
 * releases space. Nothing is dropped and nobody spins: the owner checks `queuedBytes` and accepts
 * no work while it is not zero.
 *
 * Usage: `open(bytes)`, write through `bytes`/`view` from `at` on, `close(type, bytes)`, and once
 * per batch `publish()`.
 */
export class Outlet {
  readonly #ring: RingWriter;
  readonly #fragmentBytesMax: number;
  readonly #queue: Queued[] = [];
  #queuedBytes = 0;
  #isInPlace = false;
  /** Upper bound for the open message; -1 while none is open. */
  #openBytes = -1;
  /** Target of the open message: ring memory, or a buffer of the queue. */
  bytes: Buffer;
  view: DataView;
  at = 0;

  constructor(ring: RingWriter) {
    this.#ring = ring;
    this.#fragmentBytesMax = ring.capacityBytes / FRAGMENTS_PER_RING;
    assert(this.#fragmentBytesMax <= ring.payloadBytesMax, "a fragment fits the ring");
    this.bytes = ring.bytes;
    this.view = ring.view;
  }

  /** Bytes waiting for room in the ring. */
  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  /** Whether no message waits for room; one without payload has no bytes to wait with. */
  get isEmpty(): boolean {
    return this.#queue.length === 0;
  }

  /**
   * Whether publish() would move queued bytes. The owner checks this before it parks, as the
   * consumer may have released space and rung while the owner was still awake. That consumed the
   * request for space, so if the space is too small, repeat the request and check again.
   */
  canMove(): boolean {
    const first = this.#queue[0];
    if (first === undefined) return false;
    const bytes = this.#fragmentBytes(first);
    if (this.#ring.hasRoom(bytes)) return true;
    this.#ring.wantSpace();
    return this.#ring.hasRoom(bytes);
  }

  /**
   * Whether at most `bytes` of messages are on their way. If not, the consumer rings after its next
   * batch. For an owner that could fill the ring, which others of its messages use, too.
   */
  isWithin(bytes: number): boolean {
    const waiting = () => this.#queuedBytes + this.#ring.unreadBytes;
    if (waiting() <= bytes) return true;
    this.#ring.wantSpace();
    return waiting() <= bytes;
  }

  /** @param payloadBytesMax upper bound for what will be written before close() */
  open(payloadBytesMax: number): void {
    assert(payloadBytesMax <= MESSAGE_BYTES_MAX, "a message is at most MESSAGE_BYTES_MAX long");
    assert(payloadBytesMax >= 0, "a size is not negative");
    assert(this.#openBytes < 0, "one message is open at a time");
    this.#openBytes = payloadBytesMax;
    if (this.#queue.length === 0 && payloadBytesMax <= this.#fragmentBytesMax) {
      const at = this.#ring.reserve(payloadBytesMax);
      if (at >= 0) {
        this.#isInPlace = true;
        this.bytes = this.#ring.bytes;
        this.view = this.#ring.view;
        this.at = at;
        return;
      }
    }
    this.#isInPlace = false;
    this.bytes = Buffer.allocUnsafeSlow(payloadBytesMax);
    this.view = new DataView(this.bytes.buffer);
    this.at = 0;
  }

  close(type: number, payloadBytes: number): void {
    assert(type >= 0 && type <= TYPE_MAX, "a message type is one byte");
    assert(payloadBytes <= this.#openBytes, "a message is open, and as long as announced at most");
    this.#openBytes = -1;
    if (this.#isInPlace) {
      this.#ring.commit(type, payloadBytes);
      return;
    }
    assert(this.at <= this.bytes.length, "what is written is within the message's room");
    this.#queue.push({ type, payload: this.bytes.subarray(0, payloadBytes), sent: 0 });
    this.#queuedBytes += payloadBytes;
  }

  /** Once per batch: moves queued messages into the ring while there is room, and publishes. */
  publish(): void {
    assert(this.#openBytes < 0, "a message is closed before it is published");
    if (this.#queue.length > 0 && !this.#flush()) {
      this.#ring.wantSpace();
      this.#flush(); // The consumer may have released everything before it saw the request.
    }
    this.#ring.publish();
  }

  #fragmentBytes(message: Queued): number {
    const rest = message.payload.length - message.sent;
    assert(rest >= 0, "no more is sent than a message holds");
    return Math.min(rest, this.#fragmentBytesMax);
  }

  /** @returns whether the queue is empty now */
  #flush(): boolean {
    let done = 0;
    for (const message of this.#queue) {
      if (!this.#flushOne(message)) break;
      done++;
    }
    if (done > 0) this.#queue.splice(0, done);
    const isEmpty = this.#queue.length === 0;
    assert(!isEmpty || this.#queuedBytes === 0, "an empty queue holds no bytes");
    return isEmpty;
  }

  #flushOne(message: Queued): boolean {
    const { payload, type } = message;
    for (;;) {
      const rest = payload.length - message.sent;
      const bytes = this.#fragmentBytes(message);
      const at = this.#ring.reserve(bytes);
      if (at < 0) return false;
      assert(bytes > 0 || payload.length === 0, "each fragment takes its message further");
      payload.copy(this.#ring.bytes, at, message.sent, message.sent + bytes);
      const more = bytes < rest ? MORE_FLAG : 0;
      const continued = message.sent > 0 ? CONTINUED_FLAG : 0;
      this.#ring.commit((type | more | continued) >>> 0, bytes);
      message.sent += bytes;
      this.#queuedBytes -= bytes;
      assert(this.#queuedBytes >= 0, "no byte leaves the queue twice");
      if (more === 0) return true;
    }
  }
}

/**
 * Gets one whole message; the cursor and the views it gives are the callee's only until it returns.
 */
export type OnCursor<T extends number> = (record: RecordCursor<T>) => void;

/**
 * The consumer's end: hands out whole messages through one cursor, which is reused; in place where
 * they came in one record.
 */
export class Inlet {
  readonly #ring: RingReader;
  readonly #cursor: RecordCursor;
  readonly #onCursor: OnCursor<number>;
  readonly #onRecord: OnRecord;
  #parts: Buffer[] = [];

  /** @typeParam T the types of the ring's records: the dispatcher has a case for each */
  static withCursor<T extends number>(ring: RingReader, onCursor: OnCursor<T>): Inlet {
    return new Inlet(ring, onCursor as OnCursor<number>);
  }

  private constructor(ring: RingReader, onCursor: OnCursor<number>) {
    const cursor = new RecordCursor(ring.bytes, ring.view);
    this.#ring = ring;
    this.#cursor = cursor;
    this.#onCursor = onCursor;
    this.#onRecord = (type, at, payloadBytes) => {
      if (type > TYPE_MAX) {
        this.#takeFragment(type, at, payloadBytes);
        return;
      }
      // The cursor is not ended after each record, which took 1 to 2 ns: the next one follows at
      // once, or the batch ends.
      cursor.moveTo(type, at, payloadBytes);
      onCursor(cursor);
    };
  }

  hasWork(): boolean {
    return this.#ring.hasWork();
  }

  /** The first parts of a message are here; the others wait at its producer for room. */
  get isWithinMessage(): boolean {
    return this.#parts.length > 0;
  }

  /** @returns number of records taken */
  drain(recordsMax: number): number {
    try {
      return this.#ring.drain(this.#onRecord, recordsMax);
    } finally {
      this.#cursor.end();
    }
  }

  /** Within a callback: makes its message the last of the batch; later ones stay in the ring. */
  endBatch(): void {
    this.#ring.endBatch();
  }

  #takeFragment(type: number, at: number, payloadBytes: number): void {
    const isFirst = (type & CONTINUED_FLAG) === 0;
    assert(isFirst === (this.#parts.length === 0), "fragments of one message come in a row");
    assert(payloadBytes > 0, "each fragment takes its message further");
    this.#parts.push(Buffer.from(this.#ring.bytes.subarray(at, at + payloadBytes)));
    if ((type & MORE_FLAG) !== 0) return;
    const message = Buffer.concat(this.#parts);
    this.#parts = [];
    assert(message.length <= MESSAGE_BYTES_MAX, "no more is joined than an outlet takes");
    this.#cursor.moveToJoined(type & TYPE_MAX, message);
    try {
      this.#onCursor(this.#cursor);
    } finally {
      this.#cursor.endJoined();
    }
  }
}
