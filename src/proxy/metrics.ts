import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import { createMetricsMemory, MetricCells } from "../metrics/cells.js";
import { cellOf, FAMILIES } from "../metrics/families.js";

const TLS_EXPIRY = cellOf("tlsExpiry", "client");
const TLS_REJECTED = cellOf("tlsRejected");
/** Seconds: 0.5 ms, doubled twelve times. */
const BUCKETS = Array.from({ length: 13 }, (_, i) => 0.0005 * 2 ** i);

export type DropReason = "zero_endpoints" | "failed_sending_request" | "failed_getting_response";

/** A proxy's own metrics, with etcd's names. */
export class ProxyMetrics {
  readonly #registry = new Registry();
  readonly #incoming = this.#counter("requests_total", "Counter requests incoming by method.", []);
  readonly #handled = this.#counter(
    "handled_total",
    "Counter of requests fully handled (by authoratitave servers)",
    ["code"],
  );
  readonly #dropped = this.#counter("dropped_total", "Counter of requests dropped on the proxy.", [
    "proxying_error",
  ]);
  readonly #seconds = new Histogram({
    name: "etcd_proxy_handling_duration_seconds",
    help: "Bucketed histogram of handling time of successful events (non-watches), by method (GET/PUT etc.).",
    labelNames: ["method"],
    buckets: BUCKETS,
    registers: [this.#registry],
  });

  /** Where the parts that a member has, too, count. */
  readonly cells = new MetricCells(createMetricsMemory(1), 0);

  constructor() {
    collectDefaultMetrics({ register: this.#registry });
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  /** From now on, those of the ports with TLS. */
  showTls(): void {
    const { cells } = this;
    const { tlsExpiry, tlsRejected } = FAMILIES;
    new Gauge({
      name: tlsExpiry.name,
      help: tlsExpiry.help,
      labelNames: ["side"],
      registers: [this.#registry],
      collect() {
        this.set({ side: "client" }, cells.get(TLS_EXPIRY));
      },
    });
    let shown = 0;
    new Counter({
      name: tlsRejected.name,
      help: tlsRejected.help,
      registers: [this.#registry],
      collect() {
        this.inc(cells.get(TLS_REJECTED) - shown);
        shown = cells.get(TLS_REJECTED);
      },
    });
  }

  incoming(method: string): void {
    this.#incoming.inc({ method });
  }

  dropped(method: string, reason: DropReason): void {
    this.#dropped.inc({ method, proxying_error: reason });
  }

  /** Counted when the headers of the response are there. */
  handled(method: string, status: number, seconds: number): void {
    this.#handled.inc({ method, code: String(status) });
    this.#seconds.observe({ method }, seconds);
  }

  render(): Promise<string> {
    return this.#registry.metrics();
  }

  #counter<T extends string>(name: string, help: string, labels: readonly T[]) {
    return new Counter<"method" | T>({
      name: `etcd_proxy_${name}`,
      help,
      labelNames: ["method", ...labels],
      registers: [this.#registry],
    });
  }
}
