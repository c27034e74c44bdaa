/** Buckets grow by this factor, which bounds the error of a quantile. */
const GROWTH = 1.05;
const BUCKETS_MAX = 400;
/** Upper bound of the first bucket. */
const FIRST_MS = 0.01;
const BAR_WIDTH = 40;

/** Latencies, in buckets whose width grows with the latency. */
export class Histogram {
  readonly #counts = new Uint32Array(BUCKETS_MAX);
  #count = 0;
  #maxMs = 0;

  add(ms: number): void {
    const bucket = Math.ceil(Math.log(Math.max(ms, FIRST_MS) / FIRST_MS) / Math.log(GROWTH));
    const at = Math.min(bucket, BUCKETS_MAX - 1);
    this.#counts[at] = (this.#counts[at] as number) + 1;
    this.#count++;
    this.#maxMs = Math.max(this.#maxMs, ms);
  }

  get count(): number {
    return this.#count;
  }

  get maxMs(): number {
    return this.#maxMs;
  }

  /** @param share 0 to 1. @returns 0 of nothing */
  quantileMs(share: number): number {
    let left = Math.ceil(share * this.#count);
    for (const [n, count] of this.#counts.entries()) {
      left -= count;
      if (left <= 0) return this.#count === 0 ? 0 : Math.min(upperMs(n), this.#maxMs);
    }
    return this.#maxMs;
  }

  /** Rows of `bound  count  bar`, with bounds of 1, 2 and 5 times a power of ten. */
  rows(): string[] {
    const sums = new Map<number, number>();
    for (const [n, count] of this.#counts.entries()) {
      if (count === 0) continue;
      const bound = roundUp(upperMs(n));
      sums.set(bound, (sums.get(bound) ?? 0) + count);
    }
    const most = Math.max(...sums.values());
    return [...sums]
      .sort(([a], [b]) => a - b)
      .map(([bound, count]) => {
        const bar = "#".repeat(Math.max(1, Math.round((count / most) * BAR_WIDTH)));
        return `  <= ${`${bound}`.padStart(6)} ms  ${`${count}`.padStart(9)}  ${bar}`;
      });
  }
}

function upperMs(bucket: number): number {
  return FIRST_MS * GROWTH ** bucket;
}

function roundUp(ms: number): number {
  const power = 10 ** Math.floor(Math.log10(ms));
  const step = [1, 2, 5, 10].find((factor) => ms <= factor * power * 1.000001) ?? 10;
  return Number((step * power).toPrecision(1));
}
