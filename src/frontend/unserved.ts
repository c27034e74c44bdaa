import type { Logger } from "../log/logger.js";
import type { MetricCells } from "../metrics/cells.js";
import { cellOf, UNSERVED_REASONS } from "../metrics/families.js";

const HINT_MS = 60_000;

const CELLS: ReadonlyMap<string, number> = new Map(
  UNSERVED_REASONS.map((reason) => [reason, cellOf("frontendUnserved", reason)]),
);
const UNKNOWN = cellOf("frontendUnserved", "unknown");

/** Counts connections that ended without a request, and logs them at most once a minute. */
export class UnservedConnections {
  readonly #log: Logger;
  readonly #metrics: MetricCells;
  readonly #monoMs: () => number;
  #untold = 0;
  #toldMs = Number.NEGATIVE_INFINITY;

  constructor(log: Logger, metrics: MetricCells, monoMs: () => number = () => performance.now()) {
    this.#log = log;
    this.#metrics = metrics;
    this.#monoMs = monoMs;
  }

  count(reason: string): void {
    this.#metrics.add(CELLS.get(reason) ?? UNKNOWN, 1);
    this.#untold++;
    const monoMs = this.#monoMs();
    if (monoMs - this.#toldMs < HINT_MS) return;
    this.#toldMs = monoMs;
    this.#log.info(
      `${this.#untold} connections ended without a request: checks that only connect, or clients that ` +
        'speak HTTP/1.0 or send header names with "_"? see --frontend',
    );
    this.#untold = 0;
  }
}
