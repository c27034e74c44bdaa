import { AssertionError, assert } from "../lib/assert.js";
import "../lib/latin1.js";

/**
 * Called where `assert` would be. V8 inlines only so much code into one callback: with an assertion
 * in each getter, a callback of eleven reads took 26 ns instead of 19.
 */
function outside(): never {
  throw new AssertionError(
    "Broken invariant: a field is within its record, and is read before the callback is over",
  );
}

/**
 * One message of a ring, read in place. Offsets are relative to the message; integers are
 * little-endian.
 *
 * An inlet has a single cursor and moves it from message to message: nothing is allocated for a
 * message, and a cursor is of use only until its callback returns. Then it shows the next message,
 * and after the batch every read fails. A view that `bytes()` gave must not be kept either (see
 * `poisonConsumed`).
 *
 * @typeParam T the record types of the ring, as a union, so that a `switch` over `type` can end in
 * `unreachable`. The ring does not check it.
 */
export class RecordCursor<T extends number = number> {
  readonly #ringBytes: Buffer;
  readonly #ringView: DataView;
  #type = -1;
  #bytes: Buffer;
  #view: DataView;
  #start = 0;
  /** -1 between two messages: then every offset is outside. */
  #end = -1;

  constructor(bytes: Buffer, view: DataView) {
    this.#ringBytes = bytes;
    this.#ringView = view;
    this.#bytes = bytes;
    this.#view = view;
  }

  get type(): T {
    if (this.#end < 0) outside();
    return this.#type as T;
  }

  /** Bytes of the message. */
  get length(): number {
    if (this.#end < 0) outside();
    return this.#end - this.#start;
  }

  u8(at: number): number {
    const from = this.#start + at;
    if (at < 0 || from >= this.#end) outside();
    return this.#view.getUint8(from);
  }

  u16(at: number): number {
    const from = this.#start + at;
    if (at < 0 || from + 2 > this.#end) outside();
    return this.#view.getUint16(from, true);
  }

  u32(at: number): number {
    const from = this.#start + at;
    if (at < 0 || from + 4 > this.#end) outside();
    return this.#view.getUint32(from, true);
  }

  f64(at: number): number {
    const from = this.#start + at;
    if (at < 0 || from + 8 > this.#end) outside();
    return this.#view.getFloat64(from, true);
  }

  u64(at: number): bigint {
    const from = this.#start + at;
    if (at < 0 || from + 8 > this.#end) outside();
    return this.#view.getBigUint64(from, true);
  }

  /** Bytes `at` .. `end` - 1 as a string of one character per byte. */
  text(at: number, end = this.length): string {
    const from = this.#start + at;
    const to = this.#start + end;
    if (at < 0 || from > to || to > this.#end) outside();
    return from === to ? "" : this.#bytes.latin1Slice(from, to);
  }

  /** Bytes `at` .. `end` - 1, decoded as UTF-8. */
  utf8(at: number, end = this.length): string {
    this.#check(at, end);
    return this.#bytes.toString("utf8", this.#start + at, this.#start + end);
  }

  /**
   * Bytes `at` .. `end` - 1 in place: the view dies with the callback. Only this and text allocate.
   */
  bytes(at: number, end = this.length): Buffer {
    const from = this.#start + at;
    const to = this.#start + end;
    if (at < 0 || from > to || to > this.#end) outside();
    return this.#bytes.subarray(from, to);
  }

  /**
   * Copies bytes `at` .. `end` - 1 to `target` from `targetAt` on, without making a view of them.
   */
  copy(target: Uint8Array, targetAt: number, at: number, end = this.length): void {
    this.#check(at, end);
    assert(targetAt >= 0 && targetAt + end - at <= target.length, "a copy fits its target");
    this.#bytes.copy(target, targetAt, this.#start + at, this.#start + end);
  }

  #check(at: number, end: number): void {
    if (at < 0 || at > end || this.#start + end > this.#end) outside();
  }

  /** Its inlet: onto a message that is one record of the ring. */
  moveTo(type: number, start: number, length: number): void {
    this.#type = type;
    this.#start = start;
    this.#end = start + length;
  }

  /** Its inlet: onto a message that came as many records and was joined. */
  moveToJoined(type: number, joined: Buffer): void {
    assert(this.#bytes === this.#ringBytes, "one joined message is shown at a time");
    this.#bytes = joined;
    this.#view = new DataView(joined.buffer, joined.byteOffset, joined.length);
    this.moveTo(type, 0, joined.length);
  }

  /** Its inlet, once a batch is over. */
  end(): void {
    this.#end = -1;
  }

  /** Its inlet, once the callback of a joined message is over: nothing else holds its memory. */
  endJoined(): void {
    assert(this.#bytes !== this.#ringBytes, "what ends is a joined message");
    this.end();
    this.#bytes = this.#ringBytes;
    this.#view = this.#ringView;
  }
}
