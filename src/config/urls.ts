import { parseUrlList } from "../cluster/peer-urls.js";
import type { ConfigError } from "./config-error.js";

/** An address to listen on or to tell others. */
export interface ListenUrl {
  readonly scheme: "http" | "https" | "unix" | "unixs";
  /** Without brackets: "::1". */
  readonly host: string;
  readonly port: number;
  /** As etcd prints it. */
  readonly text: string;
}

/**
 * Reads a comma-separated list of URLs; blanks around items do not count.
 *
 * @param refuse makes the error from the reason
 * @throws ConfigError
 */
export function parseUrls(text: string, refuse: (why: string) => ConfigError): ListenUrl[] {
  const list = parseUrlList(text.split(",").map((item) => item.trim()));
  if (list.kind === "invalid") throw refuse(list.message);
  return list.urls.map((url) => {
    const address = splitListenUrl(url);
    if (address === undefined) throw refuse(`bad port in ${url}`);
    return address;
  });
}

/** @returns undefined for what is no URL of a member, or has a port above 65535 */
export function splitListenUrl(text: string): ListenUrl | undefined {
  const [, scheme, host, port] = /^(https?|unixs?):\/\/(.*):(\d*)$/.exec(text) ?? [];
  if (scheme === undefined || host === undefined || port === undefined) return undefined;
  if (Number(port) > 65535) return undefined;
  return {
    scheme: scheme as ListenUrl["scheme"],
    host: host.replace(/^\[(.*)\]$/, "$1"),
    port: Number(port),
    text,
  };
}
