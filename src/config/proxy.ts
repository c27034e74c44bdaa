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

/** Node's timers end there, some 25 days; longer ones would fire at once. */
const TIMER_MS_MAX = 2 ** 31 - 1;

/** @throws ConfigError */
export function readProxy(read: FlagReader): ProxyConfig {
  const ms = (flag: string) => Math.min(read.uint(flag), TIMER_MS_MAX);
  return {
    mode: read.oneOf("proxy", ["off", "readonly", "on"]),
    failureWaitMs: ms("proxy-failure-wait"),
    refreshIntervalMs: ms("proxy-refresh-interval"),
    dialTimeoutMs: ms("proxy-dial-timeout"),
    writeTimeoutMs: ms("proxy-write-timeout"),
    readTimeoutMs: ms("proxy-read-timeout"),
  };
}
