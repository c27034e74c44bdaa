import { assert } from "../lib/assert.js";
import { CONTINUED_FLAG, MORE_FLAG, TYPE_MAX } from "./layout.js";
import { RecordCursor } from "./record-cursor.js";
import type { OnRecord, RingReader, RingWriter } from "./ring.js";

/** A message longer than 1 / FRAGMENTS_PER_RING of its ring is split into a chain of records. */
const FRAGMENTS_PER_RING = 8;
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

  /** @param payloadBytesMax upper bound for what will be written before close() */
  open(payloadBytesMax: number): void {
    assert(payloadBytesMax <= MESSAGE_BYTES_MAX, "a message is at most MESSAGE_BYTES_MAX long");
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
    this.#queue.push({ type, payload: this.bytes.subarray(0, payloadBytes), sent: 0 });
    this.#queuedBytes += payloadBytes;
  }

  /** Once per batch: moves queued messages into the ring while there is room, and publishes. */
  publish(): void {
    if (this.#queue.length > 0 && !this.#flush()) {
      this.#ring.wantSpace();
      this.#flush(); // The consumer may have released everything before it saw the request.
    }
    this.#ring.publish();
  }

  #fragmentBytes(message: Queued): number {
    return Math.min(message.payload.length - message.sent, this.#fragmentBytesMax);
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
      payload.copy(this.#ring.bytes, at, message.sent, message.sent + bytes);
      const more = bytes < rest ? MORE_FLAG : 0;
      const continued = message.sent > 0 ? CONTINUED_FLAG : 0;
      this.#ring.commit((type | more | continued) >>> 0, bytes);
      message.sent += bytes;
      this.#queuedBytes -= bytes;
      if (more === 0) return true;
    }
  }
}

/**
 * Receives one whole message; `bytes` and `view` are valid only until it returns. For dispatchers
 * that do not use a cursor yet.
 */
export type OnMessage = (
  type: number,
  bytes: Buffer,
  view: DataView,
  at: number,
  payloadBytes: number,
) => void;

/** Receives one whole message; the cursor and its views are valid only until it returns. */
export type OnCursor<T extends number> = (record: RecordCursor<T>) => void;

/** How an inlet delivers a message. */
interface Delivery {
  /** One record of the ring. */
  readonly inPlace: OnRecord;
  /** Several records, joined. */
  readonly joined: (type: number, message: Buffer) => void;
  /** After each batch, even one that ended with an error. */
  readonly end: () => void;
}

function byOffsets(ring: RingReader, onMessage: OnMessage): Delivery {
  const { bytes, view } = ring;
  return {
    inPlace: (type, at, payloadBytes) => onMessage(type, bytes, view, at, payloadBytes),
    joined: (type, message) => {
      const ownView = new DataView(message.buffer, message.byteOffset, message.length);
      onMessage(type, message, ownView, 0, message.length);
    },
    end: () => undefined,
  };
}

function byCursor<T extends number>(ring: RingReader, onCursor: OnCursor<T>): Delivery {
  const cursor = new RecordCursor<T>(ring.bytes, ring.view);
  return {
    // No end() per record, which took 1 to 2 ns: the next moveTo() or the end of the batch follows.
    inPlace: (type, at, payloadBytes) => {
      cursor.moveTo(type, at, payloadBytes);
      onCursor(cursor);
    },
    joined: (type, message) => {
      cursor.moveToJoined(type, message);
      try {
        onCursor(cursor);
      } finally {
        cursor.endJoined();
      }
    },
    end: () => cursor.end(),
  };
}

/** The consumer's end: delivers whole messages, in place if they came in one record. */
export class Inlet {
  readonly #ring: RingReader;
  readonly #delivery: Delivery;
  readonly #onRecord: OnRecord;
  #parts: Buffer[] = [];

  /** An inlet that delivers messages through a single, reused cursor. */
  static withCursor<T extends number>(ring: RingReader, onCursor: OnCursor<T>): Inlet {
    return new Inlet(ring, byCursor(ring, onCursor));
  }

  constructor(ring: RingReader, onMessage: OnMessage | Delivery) {
    const delivery = typeof onMessage === "function" ? byOffsets(ring, onMessage) : onMessage;
    const { inPlace } = delivery;
    this.#ring = ring;
    this.#delivery = delivery;
    this.#onRecord = (type, at, payloadBytes) => {
      if (type <= TYPE_MAX) inPlace(type, at, payloadBytes);
      else this.#takeFragment(type, at, payloadBytes);
    };
  }

  hasWork(): boolean {
    return this.#ring.hasWork();
  }

  /** @returns number of records taken */
  drain(recordsMax: number): number {
    try {
      return this.#ring.drain(this.#onRecord, recordsMax);
    } finally {
      this.#delivery.end();
    }
  }

  /** Within a callback: makes its message the last of the batch; later ones stay in the ring. */
  endBatch(): void {
    this.#ring.endBatch();
  }

  #takeFragment(type: number, at: number, payloadBytes: number): void {
    const isFirst = (type & CONTINUED_FLAG) === 0;
    assert(isFirst === (this.#parts.length === 0), "fragments of one message come in a row");
    this.#parts.push(Buffer.from(this.#ring.bytes.subarray(at, at + payloadBytes)));
    if ((type & MORE_FLAG) !== 0) return;
    const message = Buffer.concat(this.#parts);
    this.#parts = [];
    this.#delivery.joined(type & TYPE_MAX, message);
  }
}
