import type { Config } from "../config/config.js";
import type { Logger } from "../log/logger.js";
import type { MetricCells } from "../metrics/cells.js";
import type { Gateway } from "./frontend.js";
import { ObservedGateway } from "./observed-gateway.js";

/** A frontend thread's gateway, with what was asked for to watch its requests. */
export interface Observed {
  readonly gateway: Gateway;
  /** Sends what is left. @returns false if not all of it was sent in time */
  close(): Promise<boolean>;
}

/**
 * Without `--metrics extensive` and tracing it is the gateway itself, and no code for either is
 * loaded.
 *
 * @param thread index of the frontend's thread
 * @throws TracingError
 */
export async function observe(
  gateway: Gateway,
  { metricsLevel, tracing }: Config,
  thread: number,
  log: Logger,
  metrics: MetricCells,
): Promise<Observed> {
  let observed = gateway;
  if (metricsLevel === "extensive") {
    const { RequestDurations } = await import("./request-durations.js");
    observed = new ObservedGateway(observed, new RequestDurations(metrics));
  }
  if (tracing === undefined) return { gateway: observed, close: async () => true };
  const { Tracing } = await import("./tracing.js");
  const spans = await Tracing.start(tracing, thread, log);
  return { gateway: new ObservedGateway(observed, spans), close: () => spans.close() };
}
