import "../lib/latin1.js";

const BYTES_MIN = 16 * 1024;
/** A buffer that grew beyond this for one answer is given back. */
const BYTES_KEPT_MAX = 1024 * 1024;

/** Bytes in the making; one is used for answer after answer. */
export class ByteWriter {
  bytes: Buffer = Buffer.allocUnsafeSlow(BYTES_MIN);
  length = 0;

  clear(): void {
    this.length = 0;
    if (this.bytes.length > BYTES_KEPT_MAX) this.bytes = Buffer.allocUnsafeSlow(BYTES_MIN);
  }

  /** Makes room for `bytes` more. */
  room(bytes: number): void {
    if (this.length + bytes <= this.bytes.length) return;
    const grown = Buffer.allocUnsafeSlow(2 * (this.length + bytes));
    this.bytes.copy(grown, 0, 0, this.length);
    this.bytes = grown;
  }

  /** One byte per character. */
  latin1(text: string): void {
    this.room(text.length);
    this.length += this.bytes.latin1Write(text, this.length);
  }

  byte(value: number): void {
    this.room(1);
    this.bytes[this.length++] = value;
  }
}
