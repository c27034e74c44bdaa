import type { HttpResponse } from "uWebSockets.js";

/**
 * Counts connections that closed without a request. What the library tells at a close is the length
 * of the last answer: 0 may also be one without a body or a chunked one, so those are counted
 * against it.
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

  /** An answer that leaves the write offset at 0. */
  onWithoutLength(): void {
    this.#withoutLength++;
  }

  /** First, before the request that waits there is told. */
  onClose(res: HttpResponse): void {
    this.#isLastSuspect = res.getWriteOffset() === 0;
    if (!this.#isLastSuspect) return;
    this.#suspects++;
    if (this.#isCounting) return;
    this.#isCounting = true;
    setImmediate(() => this.#count());
  }

  /** The connection that is being closed has, or had, a request. */
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
