import type { BodyRoom } from "./body-room.js";

/** Shorter parts are joined: a Buffer costs a hundred bytes, and a part may have just one. */
const PART_BYTES = 4096;
const JOINED_BYTES_MAX = 64 * 1024;

/** An incoming request body. `finish` or `drop` returns its room. */
export class Body {
  readonly #room: BodyRoom;
  #parts: Buffer[] = [];
  /** Consecutive short parts, and how many bytes of it they fill. */
  #joined: Buffer | undefined;
  #joinedBytes = 0;
  #keptBytes = 0;
  #bytes = 0;

  constructor(room: BodyRoom) {
    this.#room = room;
  }

  /** Over the limit; nothing is kept then. */
  get isTooLarge(): boolean {
    return this.#bytes > this.#room.bodyBytesMax;
  }

  /** @param part owned by the body from now on @returns false if there is no room */
  add(part: Buffer): boolean {
    this.#bytes += part.length;
    if (this.isTooLarge) {
      this.drop();
      return true;
    }
    if (!this.#room.take(part.length)) return false;
    this.#keptBytes += part.length;
    if (part.length >= PART_BYTES) {
      this.#seal();
      this.#parts.push(part);
    } else this.#join(part);
    return true;
  }

  #join(part: Buffer): void {
    let joined = this.#joined;
    if (joined === undefined || this.#joinedBytes + part.length > joined.length) {
      const wasFull = joined !== undefined;
      this.#seal();
      joined = Buffer.allocUnsafeSlow(wasFull ? JOINED_BYTES_MAX : PART_BYTES);
      this.#joined = joined;
    }
    part.copy(joined, this.#joinedBytes);
    this.#joinedBytes += part.length;
  }

  #seal(): void {
    if (this.#joined !== undefined) this.#parts.push(this.#joined.subarray(0, this.#joinedBytes));
    this.#joined = undefined;
    this.#joinedBytes = 0;
  }

  /** Returns the whole body. @param last final part; may be a view, as it is copied */
  finish(last: Uint8Array): Uint8Array {
    this.#bytes += last.length;
    this.#seal();
    const parts = this.isTooLarge ? [] : [...this.#parts, last];
    this.drop();
    return parts.length === 1 ? (parts[0] as Uint8Array) : Buffer.concat(parts);
  }

  drop(): void {
    this.#room.give(this.#keptBytes);
    this.#keptBytes = 0;
    this.#parts = [];
    this.#joined = undefined;
    this.#joinedBytes = 0;
  }
}
