/** Samples in Prometheus' text format; `le` bounds in seconds. */
export class Metrics {
  readonly #samples = new Map<string, number>();

  constructor(text: string) {
    for (const line of text.split("\n")) {
      const sample = /^([a-zA-Z_:][^ ]*(?:\{.*\})?) (\S+)/.exec(line);
      if (sample !== null && !line.startsWith("#")) {
        this.#samples.set(sample[1] as string, Number(sample[2]));
      }
    }
  }

  /** Sum of all samples of a family; undefined if there is none. */
  sum(family: string): number | undefined {
    let sum: number | undefined;
    for (const [name, value] of this.#samples) {
      if (name === family || name.startsWith(`${family}{`)) sum = (sum ?? 0) + value;
    }
    return sum;
  }

  /** The samples of a family by the value of a label. */
  byLabel(family: string, label: string): Map<string, number> {
    const found = new Map<string, number>();
    for (const [name, value] of this.#samples) {
      const text = name.startsWith(`${family}{`) ? labelOf(name, label) : undefined;
      if (text !== undefined) found.set(text, value);
    }
    return found;
  }

  /** Cumulative counts by upper bound, in order. */
  buckets(family: string): Map<number, number> {
    return this.bucketsBy(family, "le").get("") ?? new Map();
  }

  /** The same by the value of another label; "" without one. */
  bucketsBy(family: string, label: string): Map<string, Map<number, number>> {
    const all = new Map<string, Map<number, number>>();
    for (const [name, value] of this.#samples) {
      const bound = name.startsWith(`${family}_bucket{`) ? labelOf(name, "le") : undefined;
      if (bound === undefined) continue;
      const key = label === "le" ? "" : (labelOf(name, label) ?? "");
      const counts = all.get(key) ?? new Map<number, number>();
      counts.set(bound === "+Inf" ? Infinity : Number(bound), value);
      all.set(key, counts);
    }
    return new Map([...all].map(([key, counts]) => [key, sorted(counts)]));
  }
}

function labelOf(sample: string, label: string): string | undefined {
  return new RegExp(`[{,]${label}="([^"]*)"`).exec(sample)?.[1];
}

function sorted(counts: ReadonlyMap<number, number>): Map<number, number> {
  return new Map([...counts].sort(([a], [b]) => a - b));
}

/**
 * A quantile of the values counted between two scrapes: the upper bound of its bucket.
 *
 * @returns seconds; undefined if nothing was counted
 */
export function quantileBetween(
  before: ReadonlyMap<number, number>,
  after: ReadonlyMap<number, number>,
  share: number,
): number | undefined {
  const total = (after.get(Infinity) ?? 0) - (before.get(Infinity) ?? 0);
  if (total <= 0) return undefined;
  for (const [bound, count] of after) {
    if (count - (before.get(bound) ?? 0) >= share * total) return bound;
  }
  return Infinity;
}
