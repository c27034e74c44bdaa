import { assert } from "../lib/assert.js";
import { RingdError } from "../lib/errors.js";
import { EntryType, NONE } from "./entry.js";
import type { ForwardedProposal } from "./message.js";

const WORD = 2 ** 32;

/** Bytes from a peer cannot be decoded as a message. */
export class MessageError extends RingdError {
  override readonly name = "MessageError";
  readonly code = "RAFT_MESSAGE_MALFORMED";
}

export class Writer {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  at: number;

  /**
   * @param view over the memory of `bytes`
   * @param at where to begin
   */
  constructor(bytes: Uint8Array, view: DataView, at: number) {
    assert(view.byteLength === bytes.length, "a view shows the bytes that it is of");
    assert(at >= 0 && at <= bytes.length, "what is written begins within the bytes");
    this.#bytes = bytes;
    this.#view = view;
    this.at = at;
  }

  u8(value: number): void {
    assert(value >= 0 && value <= 0xff, "a byte is below 2^8");
    this.#view.setUint8(this.at, value);
    this.at += 1;
  }

  flag(value: boolean): void {
    this.u8(value ? 1 : 0);
  }

  u32(value: number): void {
    assert(value >= 0 && value < WORD, "a length or count is below 2^32");
    this.#view.setUint32(this.at, value, true);
    this.at += 4;
  }

  number(value: number): void {
    assert(Number.isSafeInteger(value) && value >= 0, "a number is below 2^53");
    const low = value >>> 0; // Modulo 2^32.
    this.#view.setUint32(this.at, low, true);
    this.#view.setUint32(this.at + 4, (value - low) / WORD, true);
    this.at += 8;
  }

  id(value: bigint): void {
    assert(value !== NONE, "a member's id is not 0");
    this.#view.setBigUint64(this.at, value, true);
    this.at += 8;
  }

  ids(values: readonly bigint[]): void {
    this.u32(values.length);
    for (const value of values) this.id(value);
  }

  proposal({ type, data }: ForwardedProposal): void {
    this.u8(type);
    this.u32(data.length);
    this.#bytes.set(data, this.at);
    this.at += data.length;
  }
}

export class Reader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  /** Advances by `bytes`. @returns the offset before. @throws MessageError if fewer are left */
  #take(bytes: number): number {
    const at = this.#at;
    if (bytes > this.#bytes.length - at) {
      throw new MessageError(`Cannot read ${bytes} bytes at ${at} of ${this.#bytes.length}`);
    }
    this.#at += bytes;
    return at;
  }

  u8(): number {
    return this.#view.getUint8(this.#take(1));
  }

  flag(): boolean {
    const value = this.u8();
    if (value > 1) throw new MessageError(`Cannot read a flag: ${value} is neither 0 nor 1`);
    return value === 1;
  }

  u32(): number {
    return this.#view.getUint32(this.#take(4), true);
  }

  number(): number {
    const at = this.#take(8);
    const value = this.#view.getUint32(at, true) + this.#view.getUint32(at + 4, true) * WORD;
    if (!Number.isSafeInteger(value)) throw new MessageError(`Cannot read a number: ${value}`);
    return value;
  }

  id(): bigint {
    const value = this.#view.getBigUint64(this.#take(8), true);
    if (value === NONE) throw new MessageError("Cannot read a member id: it is 0");
    return value;
  }

  /** Reads an item count; checked against the bytes left before anything is allocated. */
  count(bytesEach: number): number {
    assert(bytesEach > 0, "an item takes bytes, which bounds their count");
    const count = this.u32();
    if (count * bytesEach > this.#bytes.length - this.#at) {
      throw new MessageError(`Cannot read ${count} items at ${this.#at} of ${this.#bytes.length}`);
    }
    return count;
  }

  ids(): bigint[] {
    const count = this.count(8);
    return Array.from({ length: count }, () => this.id());
  }

  proposal(): ForwardedProposal {
    const type = this.u8();
    if (type !== EntryType.normal && type !== EntryType.confChange) {
      throw new MessageError(`Cannot read an entry: no type ${type}`);
    }
    const length = this.u32();
    const at = this.#take(length);
    return { type, data: this.#bytes.subarray(at, at + length) };
  }

  end(): void {
    const left = this.#bytes.length - this.#at;
    assert(left >= 0, "nothing is read beyond the end");
    if (left > 0) throw new MessageError(`Cannot read a message: ${left} bytes left over`);
  }
}
