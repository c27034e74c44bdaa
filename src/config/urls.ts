import { parseUrlList } from "../cluster/peer-urls.js";
import { ConfigError } from "./config-error.js";

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
 * @throws ConfigError with exit code 2
 */
export function parseUrls(flag: string, text: string): ListenUrl[] {
  const list = parseUrlList(text.split(",").map((item) => item.trim()));
  if (list.kind === "invalid") {
    throw new ConfigError(`invalid value "${text}" for flag -${flag}: ${list.message}`, 2);
  }
  return list.urls.map((url) => {
    const [, scheme, host, port] = /^(\w+):\/\/(.*):(\d*)$/.exec(url) ?? [];
    if (scheme === undefined || host === undefined || port === undefined || Number(port) > 65535) {
      throw new ConfigError(`invalid value "${text}" for flag -${flag}: bad port in ${url}`, 2);
    }
    return {
      scheme: scheme as ListenUrl["scheme"],
      host: host.replace(/^\[(.*)\]$/, "$1"),
      port: Number(port),
      text: url,
    };
  });
}
