import { splitUrl } from "../cluster/peer-urls.js";
import { goQuote } from "../lib/go-text.js";
import { EXIT, Failure } from "./exit.js";
import type { Context } from "./spec.js";
import { err } from "./terminal.js";

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
      throw new Failure(EXIT.badArguments, `parse ${goQuote(url.shown)}: ${url.reason}`);
    }
    return url.scheme === "" ? `http://${text}` : url.text;
  });
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
    throw new Failure(EXIT.badArguments, `dns lookup errors: ${secure} and ${plain}`);
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
