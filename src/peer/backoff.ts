import { assert } from "../lib/assert.js";

/** How long to wait before the next try: doubling from `firstMs` up to `mostMs`. */
export class Backoff {
  readonly #firstMs: number;
  readonly #mostMs: number;
  #nextMs: number;

  constructor(firstMs: number, mostMs: number) {
    assert(firstMs > 0, "a wait is longer than nothing");
    this.#firstMs = firstMs;
    this.#mostMs = Math.max(firstMs, mostMs);
    this.#nextMs = firstMs;
  }

  next(): number {
    const waitMs = this.#nextMs;
    this.#nextMs = Math.min(this.#mostMs, 2 * waitMs);
    return waitMs;
  }

  /** After a success. */
  reset(): void {
    this.#nextMs = this.#firstMs;
  }
}
