import type { GatewayFigures } from "../frontend/ring-gateway.js";
import type { MetricCells } from "../metrics/cells.js";
import { cellOf } from "../metrics/families.js";

const IN_FLIGHT = cellOf("frontendInFlight");

/** Puts what a gateway counts into its thread's cells. */
export function gatewayFigures(metrics: MetricCells, thread: "main" | "frontend"): GatewayFigures {
  const wakeups = cellOf("wakeups", thread);
  const full = cellOf("ringFull", thread);
  return {
    inFlight: (requests) => metrics.set(IN_FLIGHT, requests),
    woken: () => metrics.add(wakeups, 1),
    ringFull: () => metrics.add(full, 1),
  };
}
