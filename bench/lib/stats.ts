/** Least recorded latency, and the growth per bucket: about 1% of relative error everywhere. */
const LEAST_MS = 0.001;
const GROWTH = Math.log(1.01);
const BUCKETS = 2048; // 0.001 ms * 1.01^2048 is about 700 s.

/** Latencies in logarithmic buckets: constant memory, whatever the rate and the length of a run. */
export class Histogram {
  readonly #counts = new Float64Array(BUCKETS);
  #count = 0;
  #maxMs = 0;

  get count(): number {
    return this.#count;
  }

  get maxMs(): number {
    return this.#maxMs;
  }

  record(ms: number): void {
    const bucket = Math.ceil(Math.log(Math.max(ms, LEAST_MS) / LEAST_MS) / GROWTH);
    const at = Math.min(bucket, BUCKETS - 1);
    this.#counts[at] = (this.#counts[at] ?? 0) + 1;
    this.#count += 1;
    if (ms > this.#maxMs) this.#maxMs = ms;
  }

  /**
   * @param q 0 .. 1
   * @returns upper edge of the bucket that holds the quantile, in ms; 0 for an empty histogram
   */
  quantile(q: number): number {
    if (this.#count === 0) return 0;
    const rank = Math.max(1, Math.ceil(q * this.#count));
    let seen = 0;
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      seen += this.#counts[bucket] ?? 0;
      if (seen >= rank) return Math.min(LEAST_MS * Math.exp(bucket * GROWTH), this.#maxMs);
    }
    return this.#maxMs;
  }
}

/** Middle value; the mean of the two middle ones of an even number. NaN for no values. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}
