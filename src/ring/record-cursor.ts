import { AssertionError, assert } from "../lib/assert.js";
import "../lib/latin1.js";

/**
 * Called instead of `assert`, as V8 limits the code inlined into a callback: with an assertion in
 * each getter, a callback with eleven reads took 26 ns instead of 19.
 */
function outside(): never {
  throw new AssertionError(
    "Broken invariant: a field is within its record, and is read before the callback is over",
  );
}

/**
 * Reads one message of a ring in place. Offsets are relative to the message; integers are
 * little-endian.
 *
 * An inlet moves a single cursor from message to message, which allocates nothing. A cursor is
 * valid only until its callback returns: then it shows the next message, and after the batch every
 * read fails. Views from `bytes()` must not be kept either (see `poisonConsumed`).
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
  /** -1 between batches, which makes every offset out of range. */
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

  /** Length of the message in bytes. */
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

  /** Bytes `at` .. `end` - 1 as a latin1 string. */
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
   * A view of bytes `at` .. `end` - 1, valid until the callback returns. Only this and texts
   * allocate.
   */
  bytes(at: number, end = this.length): Buffer {
    const from = this.#start + at;
    const to = this.#start + end;
    if (at < 0 || from > to || to > this.#end) outside();
    return this.#bytes.subarray(from, to);
  }

  /** Copies bytes `at` .. `end` - 1 to `target` from `targetAt` on, without allocating a view. */
  copy(target: Uint8Array, targetAt: number, at: number, end = this.length): void {
    this.#check(at, end);
    assert(targetAt >= 0 && targetAt + end - at <= target.length, "a copy fits its target");
    this.#bytes.copy(target, targetAt, this.#start + at, this.#start + end);
  }

  #check(at: number, end: number): void {
    if (at < 0 || at > end || this.#start + end > this.#end) outside();
  }

  /** Inlet only: moves to a message in one record of the ring. */
  moveTo(type: number, start: number, length: number): void {
    this.#type = type;
    this.#start = start;
    this.#end = start + length;
  }

  /** Inlet only: moves to a message joined from several records. */
  moveToJoined(type: number, joined: Buffer): void {
    assert(this.#bytes === this.#ringBytes, "one joined message is shown at a time");
    this.#bytes = joined;
    this.#view = new DataView(joined.buffer, joined.byteOffset, joined.length);
    this.moveTo(type, 0, joined.length);
  }

  /** Inlet only, after a batch: makes every read fail. */
  end(): void {
    assert(this.#bytes === this.#ringBytes, "a joined message ends with its callback");
    this.#end = -1;
  }

  /** Inlet only, after the callback of a joined message: releases its memory. */
  endJoined(): void {
    assert(this.#bytes !== this.#ringBytes, "what ends is a joined message");
    this.#bytes = this.#ringBytes;
    this.#view = this.#ringView;
    this.end();
  }
}
