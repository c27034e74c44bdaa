import type { GatewayMetrics } from "../frontend/ring-gateway.js";
import type { MetricCells } from "../metrics/cells.js";
import { cellOf } from "../metrics/families.js";
import type { PortMetrics } from "../ring/event-loop-port.js";

const IN_FLIGHT = cellOf("frontendInFlight");

/** Metrics of an event-loop thread's port, kept in the thread's cells. */
export function portMetrics(
  metrics: MetricCells,
  thread: "main" | "frontend" | "peer",
): PortMetrics {
  const wakeups = cellOf("wakeups", thread);
  const full = cellOf("ringFull", thread);
  return {
    woken: () => metrics.add(wakeups, 1),
    ringFull: () => metrics.add(full, 1),
  };
}

/** Metrics of a gateway. */
export function gatewayMetrics(metrics: MetricCells, thread: "main" | "frontend"): GatewayMetrics {
  return {
    ...portMetrics(metrics, thread),
    inFlight: (requests) => metrics.set(IN_FLIGHT, requests),
  };
}
