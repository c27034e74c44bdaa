import type { Rate } from "./stats.js";

const WINDOW_MESSAGES_MAX = 200;
const SILENCE_MS_MAX = 1000;

export const NO_RATE: Rate = { perSecond: 0, bytesPerSecond: 0 };

/**
 * The rate of the last 200 messages; 0 after more than a second of silence (etcd's
 * v2stats/queue.go). Times are monotonic.
 */
export class RateWindow {
  /** Rings; slot `#count % WINDOW_MESSAGES_MAX` is written next. */
  readonly #timesMs = new Float64Array(WINDOW_MESSAGES_MAX);
  readonly #bytes = new Float64Array(WINDOW_MESSAGES_MAX);
  #count = 0;
  #bytesTotal = 0;

  add(monoMs: number, bytes: number): void {
    const slot = this.#count % WINDOW_MESSAGES_MAX;
    if (this.#count >= WINDOW_MESSAGES_MAX) this.#bytesTotal -= this.#bytes[slot] ?? 0;
    this.#timesMs[slot] = monoMs;
    this.#bytes[slot] = bytes;
    this.#bytesTotal += bytes;
    this.#count++;
  }

  rate(monoMs: number): Rate {
    if (this.#count === 0) return NO_RATE;
    const newestMs = this.#timesMs[(this.#count - 1) % WINDOW_MESSAGES_MAX] ?? 0;
    if (monoMs - newestMs > SILENCE_MS_MAX) {
      this.#count = 0;
      this.#bytesTotal = 0;
      return NO_RATE;
    }
    const oldest = this.#count < WINDOW_MESSAGES_MAX ? 0 : this.#count % WINDOW_MESSAGES_MAX;
    const seconds = (newestMs - (this.#timesMs[oldest] ?? 0)) / 1000;
    // A single message, or several within the clock's resolution, have no rate.
    if (seconds <= 0) return NO_RATE;
    const messages = Math.min(this.#count, WINDOW_MESSAGES_MAX);
    return { perSecond: messages / seconds, bytesPerSecond: this.#bytesTotal / seconds };
  }
}
