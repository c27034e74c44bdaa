import "../lib/latin1.js";
import { RingdError } from "../lib/errors.js";

/** Bytes are not a message of the expected type. */
export class ProtobufError extends RingdError {
  override readonly name = "ProtobufError";
  readonly code = "PROTOBUF_MALFORMED";
}

const WIRE_VARINT = 0;
const WIRE_64 = 1;
const WIRE_BYTES = 2;
const WIRE_GROUP = 3;
const WIRE_GROUP_END = 4;
const WIRE_32 = 5;
const VARINT_BYTES_MAX = 10;

/**
 * Reads the fields of one message, as strictly as the code that gogo/protobuf generates for etcd: a
 * known field of another wire type is an error. etcd itself tells the requests of 2.x from those of
 * 3.x by that.
 *
 *   for (let field = reader.field(); field !== 0; field = reader.field())
 *     switch (field) { case 1: id = reader.u64(); break; default: reader.skip(); }
 */
export class ProtobufReader {
  readonly #bytes: Buffer;
  #at = 0;
  #wire = 0;

  /** @param bytes the whole message; `bytes` returns views into it */
  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  /** The number of the next field; 0 at the end. @throws ProtobufError */
  field(): number {
    if (this.#at === this.#bytes.length) return 0;
    const tag = this.#number();
    this.#wire = tag & 7;
    const field = Math.floor(tag / 8);
    if (field === 0 || this.#wire === WIRE_GROUP_END) throw new ProtobufError("bad field tag");
    return field;
  }

  /** @throws ProtobufError */
  u64(): bigint {
    this.#expect(WIRE_VARINT);
    return this.#varint();
  }

  /** @throws ProtobufError */
  i64(): bigint {
    return BigInt.asIntN(64, this.u64());
  }

  /** @throws ProtobufError unless it is a safe integer */
  uint(): number {
    this.#expect(WIRE_VARINT);
    return this.#number();
  }

  /** @throws ProtobufError */
  bool(): boolean {
    return this.u64() !== 0n;
  }

  /** A view. @throws ProtobufError */
  bytes(): Buffer {
    this.#expect(WIRE_BYTES);
    return this.#take(this.#number());
  }

  /** Bytes, one per character. @throws ProtobufError */
  latin1(): string {
    const bytes = this.bytes();
    return bytes.latin1Slice(0, bytes.length);
  }

  /** A field of no interest. @throws ProtobufError */
  skip(): void {
    switch (this.#wire) {
      case WIRE_VARINT:
        this.#varint();
        return;
      case WIRE_64:
        this.#take(8);
        return;
      case WIRE_BYTES:
        this.#take(this.#number());
        return;
      case WIRE_32:
        this.#take(4);
        return;
      default: // Groups are not used by etcd; generated code would look for the group's end.
        throw new ProtobufError(this.#wire === WIRE_GROUP ? "a group" : "bad wire type");
    }
  }

  #expect(wire: number): void {
    if (this.#wire !== wire) throw new ProtobufError(`wire type ${this.#wire} instead of ${wire}`);
  }

  #take(count: number): Buffer {
    const end = this.#at + count;
    if (end > this.#bytes.length) throw new ProtobufError("a field is truncated");
    const taken = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return taken;
  }

  #number(): number {
    // The usual case, without a bigint.
    const first = this.#bytes[this.#at];
    if (first !== undefined && first < 0x80) {
      this.#at++;
      return first;
    }
    const value = Number(this.#varint());
    if (!Number.isSafeInteger(value)) throw new ProtobufError("a number is out of range");
    return value;
  }

  #varint(): bigint {
    let value = 0n;
    for (let i = 0; i < VARINT_BYTES_MAX; i++) {
      const byte = this.#bytes[this.#at++];
      if (byte === undefined) throw new ProtobufError("a number is truncated");
      value |= BigInt(byte & 0x7f) << BigInt(7 * i);
      if (byte < 0x80) return BigInt.asUintN(64, value);
    }
    throw new ProtobufError("a number is too long");
  }
}
