import { createHistogram, type RecordableHistogram } from "node:perf_hooks";

const NS_PER_MS = 1e6;
/** About 17 minutes; longer latencies count as this. */
const NS_MAX = 1e12;
const BAR_WIDTH = 40;
/** Upper bounds of the rows in milliseconds: 0.01 to 1,000,000 in steps of 1, 2 and 5. */
const BOUNDS_MS = Array.from({ length: 9 }, (_, power) =>
  [1, 2, 5].map((step) => Number(`${step}e${power - 2}`)),
).flat();

/** Latencies to three significant digits, in constant memory whatever the length of a run. */
export class Latencies {
  readonly #histogram: RecordableHistogram = createHistogram({ highest: NS_MAX, figures: 3 });
  /** For `rows`, by upper bound. */
  readonly #counts = new Float64Array(BOUNDS_MS.length);
  #maxMs = 0;

  record(ms: number): void {
    this.#histogram.record(Math.min(Math.max(Math.round(ms * NS_PER_MS), 1), NS_MAX));
    this.#maxMs = Math.max(this.#maxMs, ms);
    let at = 0;
    while (at < BOUNDS_MS.length - 1 && ms > (BOUNDS_MS[at] as number)) at++;
    this.#counts[at] = (this.#counts[at] as number) + 1;
  }

  get count(): number {
    return this.#histogram.count;
  }

  get maxMs(): number {
    return this.#maxMs;
  }

  /** @param q 0 to 1 @returns milliseconds; 0 if nothing was recorded */
  quantileMs(q: number): number {
    if (this.count === 0) return 0;
    // Percentile 0 is outside of the histogram's range.
    const ns = this.#histogram.percentile(Math.max(q * 100, Number.MIN_VALUE));
    return Math.min(ns / NS_PER_MS, this.#maxMs);
  }

  /** Rows of `bound  count  bar`. */
  rows(): string[] {
    const most = Math.max(...this.#counts);
    return BOUNDS_MS.flatMap((bound, at) => {
      const count = this.#counts[at] as number;
      if (count === 0) return [];
      const bar = "#".repeat(Math.max(1, Math.round((count / most) * BAR_WIDTH)));
      return `  <= ${`${bound}`.padStart(6)} ms  ${`${count}`.padStart(9)}  ${bar}`;
    });
  }
}
