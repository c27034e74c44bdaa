import type { HttpResponse } from "uWebSockets.js";

/**
 * Counts connections that closed without a request. At a close the library reports the write offset
 * of the last response: 0 also follows one without a body or with a chunked one, so those are
 * counted and subtracted.
 */
export class UnservedCount {
  readonly #onUnserved: () => void;
  #suspects = 0;
  #isLastSuspect = false;
  #isCounting = false;
  #withoutLength = 0;

  constructor(onUnserved: () => void) {
    this.#onUnserved = onUnserved;
  }

  /** A response that leaves the write offset at 0. */
  onWithoutLength(): void {
    this.#withoutLength++;
  }

  /** Call first on a close, before the pending request is aborted. */
  onClose(res: HttpResponse): void {
    this.#isLastSuspect = res.getWriteOffset() === 0;
    if (!this.#isLastSuspect) return;
    this.#suspects++;
    if (this.#isCounting) return;
    this.#isCounting = true;
    setImmediate(() => this.#count());
  }

  /** The connection being closed has, or had, a request. */
  onRequestGone(): void {
    if (!this.#isLastSuspect) return;
    this.#isLastSuspect = false;
    this.#suspects--;
  }

  #count(): void {
    this.#isCounting = false;
    const others = Math.min(this.#suspects, this.#withoutLength);
    this.#withoutLength -= others;
    for (let n = this.#suspects - others; n > 0; n--) this.#onUnserved();
    this.#suspects = 0;
  }
}
