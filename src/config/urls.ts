import { isIP } from "node:net";
import { parseUrlList } from "../go/url-list.js";
import { type ConfigError, cannotVerify } from "./config-error.js";

/** A URL to listen on or to advertise. */
export interface ListenUrl {
  readonly scheme: "http" | "https" | "unix" | "unixs";
  /** Without brackets: "::1". */
  readonly host: string;
  readonly port: number;
  /** As etcd prints it. */
  readonly text: string;
}

/**
 * Parses a comma-separated list of URLs; blanks around items are ignored.
 *
 * @param refuse makes the error from the reason
 * @throws ConfigError
 */
export function parseUrls(text: string, refuse: (why: string) => ConfigError): ListenUrl[] {
  const list = parseUrlList(text.split(",").map((item) => item.trim()));
  if (list.kind === "invalid") throw refuse(list.message);
  return list.urls.map((url) => {
    const address = splitListenUrl(url);
    if (address === undefined) throw cannotVerify(`invalid port in ${url}`);
    return address;
  });
}

/** As in etcd, user, query and fragment are ignored. */
const LISTEN_URL = /^(https?|unixs?):\/\/(?:[^/?#]*@)?([^/?#]*):(\d*)(?:[?#].*)?$/;

/** @returns undefined if it is not a member's URL, or its port is above 65535 */
export function splitListenUrl(text: string): ListenUrl | undefined {
  const [, scheme, host, port] = LISTEN_URL.exec(text) ?? [];
  if (scheme === undefined || host === undefined || port === undefined) return undefined;
  if (Number(port) > 65535) return undefined;
  return {
    scheme: scheme as ListenUrl["scheme"],
    host: host.replace(/^\[(.*)\]$/, "$1"),
    port: Number(port),
    text,
  };
}

/**
 * A host to bind is an IP address or localhost: other names may have several addresses, or change
 * them (etcd embed/config.go, checkBindURLs).
 *
 * @throws ConfigError
 */
export function checkBindUrls(urls: readonly ListenUrl[]): void {
  for (const { scheme, host, text } of urls) {
    if (scheme.startsWith("unix") || host === "localhost") continue;
    if (isIP(host) !== 0 && !host.includes("%")) continue;
    throw cannotVerify(`expected IP in URL for binding (${text})`);
  }
}

/** As in etcd, a client address given twice is listened on once; http and https may share one. */
export function withoutRepeats(urls: readonly ListenUrl[]): ListenUrl[] {
  const seen = new Set<string>();
  return urls.filter(({ scheme, host, port }) => {
    const address = `${scheme}://${host}:${port}`;
    return !seen.has(address) && seen.add(address);
  });
}
