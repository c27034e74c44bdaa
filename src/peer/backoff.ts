import { assert } from "../lib/assert.js";

/** Delay before the next attempt: doubles from `firstMs` up to `mostMs`. */
export class Backoff {
  readonly #firstMs: number;
  readonly #mostMs: number;
  #nextMs: number;

  constructor(firstMs: number, mostMs: number) {
    assert(firstMs > 0, "a delay is positive");
    this.#firstMs = firstMs;
    this.#mostMs = Math.max(firstMs, mostMs);
    this.#nextMs = firstMs;
  }

  next(): number {
    const waitMs = this.#nextMs;
    this.#nextMs = Math.min(this.#mostMs, 2 * waitMs);
    return waitMs;
  }

  /** Call after a success. */
  reset(): void {
    this.#nextMs = this.#firstMs;
  }
}
