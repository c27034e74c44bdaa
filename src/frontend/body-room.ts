/** Longer forms are rejected, as by Go's http.Request.ParseForm. */
export const BODY_BYTES_MAX = 10 * 1024 * 1024;
/** Limit of all request bodies in flight together; requests beyond it are rejected. */
export const BODIES_BYTES_MAX = 256 * 1024 * 1024;

/** Memory budget for the incomplete bodies of one thread's frontends. */
export class BodyRoom {
  /** Limit of a single body. */
  readonly bodyBytesMax: number;
  readonly #bytesMax: number;
  #bytes = 0;

  constructor(bytesMax: number, bodyBytesMax = BODY_BYTES_MAX) {
    this.#bytesMax = bytesMax;
    this.bodyBytesMax = bodyBytesMax;
  }

  /** @returns false, and takes nothing, if that many bytes do not fit */
  take(bytes: number): boolean {
    if (this.#bytes + bytes > this.#bytesMax) return false;
    this.#bytes += bytes;
    return true;
  }

  give(bytes: number): void {
    this.#bytes -= bytes;
  }
}
