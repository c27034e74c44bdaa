import { cannotVerify } from "./config-error.js";
import type { FlagReader } from "./flag-reader.js";

/** What takes longer is logged. */
export interface SlowLimits {
  /** Applying a batch of entries; a read by quorum. */
  readonly applyMs: number;
  /** A write, from its arrival to its response. */
  readonly requestMs: number;
}

export interface TracingConfig {
  /** HOST:PORT of an OTLP collector, by gRPC without TLS. */
  readonly address: string;
  readonly serviceName: string;
  /** "" for none. */
  readonly instanceId: string;
  /** Traces begun here, of a million requests; a caller's decision about its own comes first. */
  readonly samplingRate: number;
}

export interface ObservabilityConfig {
  readonly slow: SlowLimits;
  readonly metricsLevel: "basic" | "extensive";
  /** Undefined unless it is enabled. */
  readonly tracing: TracingConfig | undefined;
}

const HOST_AND_PORT = /^(\[[0-9a-f:.]+\]|[^\s:/?#@\\[\]]+):\d{1,5}$/i;
const SAMPLING_RATE_MAX = 1_000_000;

/** @throws ConfigError */
export function readObservability(read: FlagReader): ObservabilityConfig {
  return {
    slow: {
      applyMs: read.durationMs("experimental-warning-apply-duration"),
      requestMs: read.durationMs("experimental-warning-unary-request-duration"),
    },
    metricsLevel: read.string("metrics") === "extensive" ? "extensive" : "basic",
    tracing: readTracing(read),
  };
}

/** As in etcd, the flags of a tracing that is not enabled are not looked at. */
function readTracing(read: FlagReader): TracingConfig | undefined {
  if (!read.bool("experimental-enable-distributed-tracing")) return undefined;
  const address = read.string("experimental-distributed-tracing-address");
  if (!HOST_AND_PORT.test(address) || !URL.canParse(`http://${address}`)) {
    throw read.invalid("experimental-distributed-tracing-address", "it is a HOST:PORT");
  }
  const samplingRate = read.int("experimental-distributed-tracing-sampling-rate");
  // etcd's texts.
  if (samplingRate < 0) throw cannotVerify("distributed tracing sampling rate must be positive");
  if (samplingRate > SAMPLING_RATE_MAX) {
    throw cannotVerify(`distributed tracing sampling rate must be less than ${SAMPLING_RATE_MAX}`);
  }
  return {
    address,
    serviceName: read.string("experimental-distributed-tracing-service-name"),
    instanceId: read.string("experimental-distributed-tracing-instance-id"),
    samplingRate,
  };
}
