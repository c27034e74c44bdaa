/** A form longer than this is refused, as Go's http.Request.ParseForm does. */
export const BODY_BYTES_MAX = 10 * 1024 * 1024;
/** What the bodies under way may take together; one that finds no room is refused. */
export const BODIES_BYTES_MAX = 256 * 1024 * 1024;

/** What the unfinished bodies of a thread's frontends may take together. */
export class BodyRoom {
  readonly #bytesMax: number;
  #bytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** @returns false, and takes nothing, if there is no room for so many more */
  take(bytes: number): boolean {
    if (this.#bytes + bytes > this.#bytesMax) return false;
    this.#bytes += bytes;
    return true;
  }

  give(bytes: number): void {
    this.#bytes -= bytes;
  }
}
