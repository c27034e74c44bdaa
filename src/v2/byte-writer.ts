import "../lib/latin1.js";

const BYTES_MIN = 16 * 1024;
/** A buffer that a large response grew beyond this is released. */
const BYTES_KEPT_MAX = 4 * 1024 * 1024;

/**
 * Strings up to this length are copied by a JavaScript loop: a native call costs as much as 50
 * characters.
 */
export const LOOP_CHARACTERS_MAX = 48;

/** A growing buffer, reused for all responses. */
export class ByteWriter {
  bytes: Buffer = Buffer.allocUnsafeSlow(BYTES_MIN);
  length = 0;

  clear(): void {
    this.length = 0;
    if (this.bytes.length > BYTES_KEPT_MAX) this.bytes = Buffer.allocUnsafeSlow(BYTES_MIN);
  }

  /** Ensures room for `bytes` more. */
  room(bytes: number): void {
    if (this.length + bytes <= this.bytes.length) return;
    const grown = Buffer.allocUnsafeSlow(2 * (this.length + bytes));
    this.bytes.copy(grown, 0, 0, this.length);
    this.bytes = grown;
  }

  /** One byte per character. */
  latin1(text: string): void {
    const { length } = text;
    this.room(length);
    if (length > LOOP_CHARACTERS_MAX) {
      this.length += this.bytes.latin1Write(text, this.length);
      return;
    }
    const { bytes } = this;
    let at = this.length;
    for (let i = 0; i < length; i++) bytes[at++] = text.charCodeAt(i);
    this.length = at;
  }

  raw(bytes: Uint8Array): void {
    this.room(bytes.length);
    this.bytes.set(bytes, this.length);
    this.length += bytes.length;
  }

  /** Digits of an integer, 0 .. 2^53 - 1. */
  decimal(value: number): void {
    let digits = 1;
    for (let limit = 10; value >= limit; limit *= 10) digits++;
    this.room(digits);
    const { bytes } = this;
    let rest = value;
    for (let at = this.length + digits - 1; at >= this.length; at--) {
      const tenth = Math.floor(rest / 10);
      bytes[at] = 0x30 + (rest - tenth * 10);
      rest = tenth;
    }
    this.length += digits;
  }

  byte(value: number): void {
    this.room(1);
    this.bytes[this.length++] = value;
  }
}
