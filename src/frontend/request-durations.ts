import type { FramedRequest } from "../messages/requests.js";
import type { MetricCells } from "../metrics/cells.js";
import { cellOf, HTTP_REQUEST_CODES, HTTP_REQUEST_ROUTES } from "../metrics/families.js";
import { METHODS } from "../v2/request.js";
import type { Observation, Observer } from "./observed-gateway.js";
import { routeOf } from "./routes.js";

const [KEYS, OTHER] = HTTP_REQUEST_ROUTES;

/** Cells by status, for each method. */
function cellsOf(route: string): ReadonlyMap<number, number>[] {
  return METHODS.map((method) => {
    const cell = (code: string) => cellOf("httpRequestDuration", method, code, route);
    return new Map(HTTP_REQUEST_CODES.map((code) => [Number(code) || 0, cell(code)]));
  });
}

/** For `--metrics extensive`: durations of requests, but of watches, by method and status. */
export class RequestDurations implements Observer {
  readonly #metrics: MetricCells;
  readonly #keys = cellsOf(KEYS);
  readonly #others = cellsOf(OTHER);

  constructor(metrics: MetricCells) {
    this.#metrics = metrics;
  }

  began({ method, path }: FramedRequest): Observation {
    const startMs = performance.now();
    const cells = (routeOf(path) === "/v2/keys" ? this.#keys : this.#others)[method];
    return {
      answered: ({ status }, _bytes, isWatch) => {
        const cell = cells?.get(status) ?? cells?.get(0);
        if (isWatch || cell === undefined) return;
        this.#metrics.observe(cell, (performance.now() - startMs) / 1000);
      },
      gone: () => undefined,
    };
  }
}
