import type { FlagReader } from "./flag-reader.js";

/** A process that forwards requests to the members, and its times, in ms. */
export interface ProxyConfig {
  readonly mode: "off" | "on" | "readonly";
  /** How long an endpoint that failed is left alone. */
  readonly failureWaitMs: number;
  readonly refreshIntervalMs: number;
  readonly dialTimeoutMs: number;
  readonly writeTimeoutMs: number;
  /** 0 for none: it would end watches. */
  readonly readTimeoutMs: number;
}

/** @throws ConfigError */
export function readProxy(read: FlagReader): ProxyConfig {
  return {
    mode: read.oneOf("proxy", ["off", "readonly", "on"]),
    failureWaitMs: read.uint("proxy-failure-wait"),
    refreshIntervalMs: read.uint("proxy-refresh-interval"),
    dialTimeoutMs: read.uint("proxy-dial-timeout"),
    writeTimeoutMs: read.uint("proxy-write-timeout"),
    readTimeoutMs: read.uint("proxy-read-timeout"),
  };
}
