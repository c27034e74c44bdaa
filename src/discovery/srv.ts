import { promises } from "node:dns";
import { splitListenUrl } from "../config/urls.js";
import { goQuote } from "../go/text.js";
import { messageOf, RingdError } from "../lib/errors.js";

export interface SrvRecord {
  /** Without the final dot. */
  readonly name: string;
  readonly port: number;
  readonly priority: number;
  readonly weight: number;
}

/** The domain name system. */
export interface Dns {
  /** @throws Error with the reason */
  srv(name: string): Promise<readonly SrvRecord[]>;
  /** @throws Error with the reason */
  addresses(host: string): Promise<readonly string[]>;
}

export interface SrvQuery {
  /** Value of --discovery-srv. */
  readonly domain: string;
  /** Value of --discovery-srv-name; "" for none. */
  readonly suffix: string;
}

/** DNS does not lead to the cluster. One line. */
export class SrvError extends RingdError {
  override readonly name = "SrvError";
  readonly code = "SRV_FAILED";
}

/** This system's. */
export const systemDns: Dns = {
  async srv(name) {
    try {
      return await promises.resolveSrv(name);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      const isUnknown = code === "ENOTFOUND" || code === "ENODATA";
      const [server = ""] = promises.getServers();
      const at = /^(\[.*\]|[^:]*):\d+$/.test(server) ? server : `${server}:53`;
      const why = isUnknown ? "no such host" : `server misbehaving (${code})`;
      throw new SrvError(`lookup ${name} on ${at}: ${why}`);
    }
  },
  async addresses(host) {
    const all = await promises.lookup(host, { all: true });
    return all.map(({ address }) => address);
  },
};

/**
 * The initial cluster that SRV records list: `_etcd-server-ssl._tcp` with https and
 * `_etcd-server._tcp` with http. The member whose address is one of this one's gets its name, the
 * others get numbers, as names do not count in ids (etcd pkg/srv).
 *
 * @param own name and advertised peer URLs; undefined for a proxy, which need not be listed
 * @throws SrvError
 */
export async function srvInitialCluster(
  query: SrvQuery,
  own: { readonly name: string; readonly peerUrls: readonly string[] } | undefined,
  dns: Dns = systemDns,
): Promise<string> {
  const { domain } = query;
  const failures: string[] = [];
  const entries: string[] = [];
  const ownAddresses = await resolveUrls(own?.peerUrls ?? [], dns);
  let others = 0;
  let isListed = false;
  for (const scheme of ["https", "http"]) {
    const service = serviceOf("etcd-server", scheme, query.suffix);
    for (const { name: host, port } of await recordsOf(
      `_${service}._tcp.${domain}`,
      dns,
      failures,
    )) {
      const url = `${scheme}://${host.includes(":") ? `[${host}]` : host}:${port}`;
      const addresses = await addressesOf(host, dns, failures);
      const me = ownAddresses.find((one) =>
        addresses.some((address) => one.at === `${address} ${port}`),
      );
      if (addresses.length === 0) continue;
      if (me !== undefined && me.scheme !== scheme) {
        failures.push(
          `bootstrap at ${url} from DNS for ${service} has scheme mismatch with expected peer ${me.url}`,
        );
        continue;
      }
      isListed ||= me !== undefined;
      entries.push(`${me === undefined ? others++ : own?.name}=${url}`);
    }
  }
  const why = failures.length === 0 ? "" : `: ${[...new Set(failures)].join("; ")}`;
  if (entries.length === 0) {
    throw new SrvError(
      `error setting up initial cluster: error querying DNS SRV records of --discovery-srv=${domain}${why}`,
    );
  }
  if (own !== undefined && !isListed) {
    throw new SrvError(
      `error setting up initial cluster: cannot find local etcd member ${goQuote(own.name)} in SRV records ` +
        `of --discovery-srv=${domain}, which list ${entries.join(",")}; --initial-advertise-peer-urls is ` +
        `${own.peerUrls.join(",")}${why}`,
    );
  }
  return entries.join(",");
}

/**
 * Client URLs that SRV records list, with their records: `_etcd-client-ssl._tcp` and
 * `_etcd-client._tcp`.
 *
 * @throws SrvError if neither has any
 */
export async function srvClients(
  { domain, suffix }: SrvQuery,
  dns: Dns = systemDns,
): Promise<readonly (SrvRecord & { readonly scheme: string })[]> {
  const failures: string[] = [];
  const found: (SrvRecord & { readonly scheme: string })[] = [];
  for (const scheme of ["https", "http"]) {
    const name = `_${serviceOf("etcd-client", scheme, suffix)}._tcp.${domain}`;
    for (const record of await recordsOf(name, dns, failures)) found.push({ ...record, scheme });
  }
  if (found.length > 0) return found;
  throw new SrvError(`dns lookup errors of --discovery-srv=${domain}: ${failures.join(" and ")}`);
}

function serviceOf(name: string, scheme: string, suffix: string): string {
  const service = scheme === "https" ? `${name}-ssl` : name;
  return suffix === "" ? service : `${service}-${suffix}`;
}

async function recordsOf(name: string, dns: Dns, failures: string[]): Promise<SrvRecord[]> {
  try {
    const records = await dns.srv(name);
    // A target of "." says that the service is not there (RFC 2782).
    const served = records.filter(({ name: target }) => target !== "" && target !== ".");
    if (served.length === 0) failures.push(`lookup ${name}: no records`);
    return served
      .map((record) => ({ ...record, name: record.name.replace(/\.$/, "") }))
      .sort((a, b) => a.priority - b.priority);
  } catch (error) {
    failures.push(messageOf(error));
    return [];
  }
}

async function addressesOf(host: string, dns: Dns, failures: string[]): Promise<readonly string[]> {
  try {
    return await dns.addresses(host);
  } catch (error) {
    failures.push(messageOf(error));
    return [];
  }
}

interface OwnAddress {
  /** Address and port. */
  readonly at: string;
  readonly scheme: string;
  readonly url: string;
}

/** @throws SrvError */
async function resolveUrls(urls: readonly string[], dns: Dns): Promise<OwnAddress[]> {
  const all: OwnAddress[] = [];
  for (const url of urls) {
    const split = splitListenUrl(url);
    if (split === undefined || split.scheme.startsWith("unix")) continue;
    const failures: string[] = [];
    const addresses = await addressesOf(split.host, dns, failures);
    if (addresses.length === 0) {
      throw new SrvError(
        `error setting up initial cluster: cannot resolve --initial-advertise-peer-urls=${url}: ${failures.join()}`,
      );
    }
    for (const address of addresses) {
      all.push({ at: `${address} ${split.port}`, scheme: split.scheme, url });
    }
  }
  return all;
}
