import { goQuote } from "../../go/text.js";
import { splitUrl } from "../../go/url-list.js";
import { UnreachableError } from "../output/errors.js";
import { failure } from "../output/exit.js";
import { err } from "../output/terminal.js";
import type { Context } from "./spec.js";

const PORT_MAX = 65_535;
const DEFAULT_ENDPOINTS = "http://127.0.0.1:2379,http://127.0.0.1:4001";

/** The variable that replaces a missing flag: `RINGCTL_NAME`, else `ETCDCTL_NAME`. */
export function variable(env: NodeJS.ProcessEnv, name: string): string {
  return env[`RINGCTL_${name}`] || env[`ETCDCTL_${name}`] || "";
}

/**
 * The initial endpoints: those of DNS discovery if it is requested, else the first of the flags and
 * variables that is set. Checked like in etcdctl; the default scheme is http.
 */
export async function readEndpoints(context: Context): Promise<string[]> {
  const discovered = await discover(context);
  const texts = discovered.length > 0 ? discovered : given(context).split(",");
  return texts.map((text) => {
    const url = splitUrl(text);
    if (url.kind === "invalid") {
      throw failure(`parse ${goQuote(url.shown)}: ${url.reason}`);
    }
    return url.scheme === "" ? `http://${text}` : url.text;
  });
}

/**
 * Separates endpoints that no client can reach. etcdctl accepts them, uses the others, and lists
 * these among its errors if the others fail, too. The default host is localhost.
 */
export function partition(endpoints: readonly string[]): {
  readonly reachable: readonly string[];
  readonly unreachable: readonly UnreachableError[];
} {
  const reachable: string[] = [];
  const unreachable: UnreachableError[] = [];
  for (const endpoint of endpoints) {
    const [, scheme = "", host, name = "", port = ""] =
      /^([^:]*):(?:\/\/((?:[^/?#]*@)?([^/?#@]*?)(?::(\d*))?)(?=[/?#]|$))?/.exec(endpoint) ?? [];
    const reject = (text: string, isDial = false) =>
      unreachable.push(new UnreachableError(endpoint, text, isDial));
    if (scheme !== "http" && scheme !== "https") {
      reject(`unsupported protocol scheme ${goQuote(scheme)}`);
    } else if (host === undefined || host === "") {
      reject("http: no Host in request URL");
    } else if (Number(port) > PORT_MAX) {
      reject(`dial tcp: address ${port}: invalid port`, true);
    } else {
      const url = name === "" ? endpoint.replace("//", "//localhost") : endpoint;
      if (URL.canParse(url)) reachable.push(url);
      else reject(`dial tcp: lookup ${name}: no such host`, true);
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

/** The domain to look up, and whether http endpoints are accepted. */
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
    throw failure(`dns lookup errors: ${secure} and ${plain}`);
  }
  const found = [secure, plain].flatMap((urls) => (typeof urls === "string" ? [] : urls));
  if (isInsecure) return found;
  return found.filter((url) => {
    const isSecure = url.startsWith("https://");
    if (!isSecure) err(`ignoring discovered insecure endpoint ${goQuote(url)}\n`);
    return isSecure;
  });
}

/** @returns URLs, or an error message */
async function lookUp(name: string, scheme: string): Promise<string[] | string> {
  const { getServers, promises } = await import("node:dns");
  try {
    const records = await promises.resolveSrv(name);
    records.sort((a, b) => a.priority - b.priority);
    return records.map((record) => `${scheme}://${record.name}:${record.port}`);
  } catch (error) {
    const [server = ""] = getServers();
    const { code } = error as NodeJS.ErrnoException;
    const reason =
      code === "ENOTFOUND" || code === "ENODATA" ? "no such host" : "server misbehaving";
    return `lookup ${name} on ${server.includes(":") ? server : `${server}:53`}: ${reason}`;
  }
}
