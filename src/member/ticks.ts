import { assert } from "../lib/assert.js";

/** Converts the monotonic clock into raft ticks. */
export class Ticks {
  readonly #intervalMs: number;
  #nextMs: number;

  constructor(intervalMs: number, monoMs: number) {
    assert(intervalMs > 0, "the tick interval is positive");
    this.#intervalMs = intervalMs;
    this.#nextMs = monoMs + intervalMs;
  }

  /**
   * Ticks due since the last call; at most two after a long pause (a stopped process, a suspended
   * machine).
   */
  due(monoMs: number): number {
    if (monoMs < this.#nextMs) return 0;
    const ticks = 1 + Math.floor((monoMs - this.#nextMs) / this.#intervalMs);
    this.#nextMs += ticks * this.#intervalMs;
    assert(ticks >= 1, "a tick is due");
    assert(this.#nextMs > monoMs, "the next tick is in the future");
    return Math.min(ticks, 2);
  }

  msToNext(monoMs: number): number {
    return Math.max(0, this.#nextMs - monoMs);
  }
}
