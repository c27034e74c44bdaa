import { BODY_BYTES_MAX, type BodyRoom } from "./body-room.js";

/** The body of a request as it comes in. Its room is given back by `finish` or `drop`, whichever comes. */
export class Body {
  readonly #room: BodyRoom;
  #parts: Buffer[] = [];
  #keptBytes = 0;
  #bytes = 0;

  constructor(room: BodyRoom) {
    this.#room = room;
  }

  /** Of a body over the limit nothing is kept. */
  get isTooLarge(): boolean {
    return this.#bytes > BODY_BYTES_MAX;
  }

  /** @param part owned by the body from here on @returns false if there is no room for it */
  add(part: Buffer): boolean {
    this.#bytes += part.length;
    if (this.isTooLarge) {
      this.drop();
      return true;
    }
    if (!this.#room.take(part.length)) return false;
    this.#keptBytes += part.length;
    this.#parts.push(part);
    return true;
  }

  /** The whole of it, with a last part that may be a view. */
  finish(last: Uint8Array): Uint8Array {
    this.#bytes += last.length;
    const parts = this.isTooLarge ? [] : [...this.#parts, last];
    this.drop();
    return parts.length === 1 ? (parts[0] as Uint8Array) : Buffer.concat(parts);
  }

  drop(): void {
    this.#room.give(this.#keptBytes);
    this.#keptBytes = 0;
    this.#parts = [];
  }
}
