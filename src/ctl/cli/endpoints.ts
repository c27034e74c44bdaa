import { splitUrl } from "../../cluster/peer-urls.js";
import { goQuote } from "../../lib/go-text.js";
import { UnreachableError } from "../output/errors.js";
import { refused } from "../output/exit.js";
import { err } from "../output/terminal.js";
import type { Context } from "./spec.js";

const PORT_MAX = 65_535;
const DEFAULT_ENDPOINTS = "http://127.0.0.1:2379,http://127.0.0.1:4001";

/** Where a setting comes from when no flag gives it: `RINGCTL_NAME`, then `ETCDCTL_NAME`. */
export function variable(env: NodeJS.ProcessEnv, name: string): string {
  return env[`RINGCTL_${name}`] || env[`ETCDCTL_${name}`] || "";
}

/**
 * The endpoints to begin with: what DNS says where it is asked, else the first of the flags and variables that
 * is set. Each is checked as etcdctl does; a scheme that is missing is http.
 */
export async function readEndpoints(context: Context): Promise<string[]> {
  const discovered = await discover(context);
  const texts = discovered.length > 0 ? discovered : given(context).split(",");
  return texts.map((text) => {
    const url = splitUrl(text);
    if (url.kind === "invalid") {
      throw refused(`parse ${goQuote(url.shown)}: ${url.reason}`);
    }
    return url.scheme === "" ? `http://${text}` : url.text;
  });
}

/**
 * Parts the endpoints that the client takes from those that etcdctl takes too, but never reaches: it goes on with
 * the others, and has these in its list of errors when those fail, too. Without a name the host is this one.
 */
export function sortOut(endpoints: readonly string[]): {
  readonly reachable: readonly string[];
  readonly unreachable: readonly UnreachableError[];
} {
  const reachable: string[] = [];
  const unreachable: UnreachableError[] = [];
  for (const endpoint of endpoints) {
    const [, scheme = "", host, name = "", port = ""] =
      /^([^:]*):(?:\/\/((?:[^/?#]*@)?([^/?#@]*?)(?::(\d*))?)(?=[/?#]|$))?/.exec(endpoint) ?? [];
    const no = (text: string, isDial = false) =>
      unreachable.push(new UnreachableError(endpoint, text, isDial));
    if (scheme !== "http" && scheme !== "https") {
      no(`unsupported protocol scheme ${goQuote(scheme)}`);
    } else if (host === undefined || host === "") {
      no("http: no Host in request URL");
    } else if (Number(port) > PORT_MAX) {
      no(`dial tcp: address ${port}: invalid port`, true);
    } else {
      const url = name === "" ? endpoint.replace("//", "//localhost") : endpoint;
      if (URL.canParse(url)) reachable.push(url);
      else no(`dial tcp: lookup ${name}: no such host`, true);
    }
  }
  return { reachable, unreachable };
}

function given({ globals, env }: Context): string {
  return (
    globals.string("endpoints") ||
    variable(env, "ENDPOINTS") ||
    globals.string("endpoint") ||
    variable(env, "ENDPOINT") ||
    globals.string("peers") ||
    variable(env, "PEERS") ||
    DEFAULT_ENDPOINTS
  );
}

/** The domain to look up and whether http results are welcome. */
export function discoveryDomain({ globals, env }: Context): {
  readonly domain: string;
  readonly isInsecure: boolean;
  readonly service: string;
} {
  return {
    domain: globals.string("discovery-srv") || variable(env, "DISCOVERY_SRV"),
    isInsecure: globals.bool("insecure-discovery") || variable(env, "INSECURE_DISCOVERY") !== "",
    service: globals.string("discovery-srv-name") || variable(env, "DISCOVERY_SRV_NAME"),
  };
}

async function discover(context: Context): Promise<string[]> {
  const { domain, isInsecure, service } = discoveryDomain(context);
  if (domain === "") return [];
  const suffix = service === "" ? "" : `-${service}`;
  const [secure, plain] = await Promise.all([
    lookUp(`_etcd-client-ssl${suffix}._tcp.${domain}`, "https"),
    lookUp(`_etcd-client${suffix}._tcp.${domain}`, "http"),
  ]);
  if (typeof secure === "string" && typeof plain === "string") {
    throw refused(`dns lookup errors: ${secure} and ${plain}`);
  }
  const found = [secure, plain].flatMap((urls) => (typeof urls === "string" ? [] : urls));
  if (isInsecure) return found;
  return found.filter((url) => {
    const isSecure = url.startsWith("https://");
    if (!isSecure) err(`ignoring discovered insecure endpoint ${goQuote(url)}\n`);
    return isSecure;
  });
}

/** @returns URLs, or why there are none */
async function lookUp(name: string, scheme: string): Promise<string[] | string> {
  const { getServers, promises } = await import("node:dns");
  try {
    const records = await promises.resolveSrv(name);
    records.sort((a, b) => a.priority - b.priority);
    return records.map((record) => `${scheme}://${record.name}:${record.port}`);
  } catch (error) {
    const [server = ""] = getServers();
    const { code } = error as NodeJS.ErrnoException;
    const why = code === "ENOTFOUND" || code === "ENODATA" ? "no such host" : "server misbehaving";
    return `lookup ${name} on ${server.includes(":") ? server : `${server}:53`}: ${why}`;
  }
}
