import { assert } from "../lib/assert.js";

/** Turns the clock into ticks: how many are due, and how long until the next. */
export class Ticks {
  readonly #intervalMs: number;
  #nextMs: number;

  constructor(intervalMs: number, monoMs: number) {
    assert(intervalMs > 0, "ticks have a distance");
    this.#intervalMs = intervalMs;
    this.#nextMs = monoMs + intervalMs;
  }

  /**
   * Ticks since the last call. After a long pause (a stopped process, a suspended machine) only
   * one.
   */
  due(monoMs: number): number {
    if (monoMs < this.#nextMs) return 0;
    const ticks = 1 + Math.floor((monoMs - this.#nextMs) / this.#intervalMs);
    this.#nextMs += ticks * this.#intervalMs;
    assert(this.#nextMs > monoMs, "the next tick is to come");
    return Math.min(ticks, 2);
  }

  msToNext(monoMs: number): number {
    return Math.max(0, this.#nextMs - monoMs);
  }
}
