import { cannotVerify } from "./config-error.js";
import type { FlagReader } from "./flag-reader.js";

/** Where a first start looks for the other founding members. */
export interface DiscoveryConfig {
  /** "" for none. */
  readonly url: string;
  /** What becomes of a process whose token is full. */
  readonly fallback: "exit" | "proxy";
  /** The HTTP proxy to the discovery service; "" for none. */
  readonly httpProxy: string;
  /** DNS domain with SRV records; "" for none. */
  readonly srvDomain: string;
  /** Suffix of the service's name in it; "" for none. */
  readonly srvName: string;
}

/** @throws ConfigError */
export function readDiscovery(read: FlagReader): DiscoveryConfig {
  const discovery: DiscoveryConfig = {
    url: read.string("discovery"),
    fallback: read.oneOf("discovery-fallback", ["exit", "proxy"]),
    httpProxy: read.string("discovery-proxy"),
    srvDomain: read.string("discovery-srv"),
    srvName: read.string("discovery-srv-name"),
  };
  const { url, httpProxy } = discovery;
  if (url !== "" && !isHttpUrl(url)) {
    throw cannotVerify(`--discovery=${url} is not an http or https URL`);
  }
  const proxy = /^https?:/i.test(httpProxy) ? httpProxy : `http://${httpProxy}`;
  if (httpProxy !== "" && !isHttpUrl(proxy)) {
    throw cannotVerify(`--discovery-proxy=${httpProxy} is not the URL of an HTTP proxy`);
  }
  return discovery;
}

function isHttpUrl(text: string): boolean {
  if (!/^https?:\/\/[^/]/i.test(text) || !URL.canParse(text)) return false;
  return new URL(text).hostname !== "";
}
