import { lookup } from "node:dns/promises";
import { connect } from "node:tls";
import { type SrvRecord, srvClients } from "../discovery/srv.js";
import { systemReason } from "../lib/errors.js";
import type { Logger } from "../log/logger.js";
import { notifySupervisor } from "../process/notify.js";
import { readTextFile } from "../process/text-file.js";
import { type GatewayFlags, type HostPort, hostPortText } from "./gateway-flags.js";
import { openProcessLog } from "./process-log.js";
import { ProxyStartError } from "./proxy-error.js";
import { type Remote, Remotes } from "./remotes.js";
import { TcpGateway } from "./tcp-gateway.js";

const HANDSHAKE_MS = 5000;
const CA_BYTES_MAX = 1024 * 1024;

/** Runs a gateway until the process is told to stop. @throws RingdError for an operator to fix */
export async function startGateway(flags: GatewayFlags): Promise<void> {
  const config = { level: "info", format: "auto", outputs: ["default"] } as const;
  const log = openProcessLog(config, "gateway");
  const remotes = await findRemotes(flags, log);
  await checkNoLoop(flags.listenAddr, remotes);
  const all = new Remotes(remotes);
  const gateway = new TcpGateway(all, flags.retryDelayMs, log);
  await gateway.listen(flags.listenAddr);
  log.info({ endpoints: all.names }, "ready to proxy client requests");
  notifySupervisor("READY=1", log);
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    process.on(signal, () => {
      log.info(`received signal ${signal}; shutting down`);
      gateway.close();
      process.exit(0);
    });
  }
}

/** @throws SrvError, ProxyStartError */
async function findRemotes(flags: GatewayFlags, log: Logger): Promise<readonly Remote[]> {
  const { srvDomain: domain, srvName: suffix, isInsecure, endpoints } = flags;
  const given = endpoints.map((endpoint) => ({ ...endpoint, priority: 0, weight: 0 }));
  if (domain === "") {
    if (given.length === 0) throw new ProxyStartError("gateway: no endpoints found");
    return given;
  }
  const found = await srvClients({ domain, suffix });
  const urls = found.map((record) => `${record.scheme}://${record.name}:${record.port}`);
  log.info({ domain, endpoints: urls }, "discovered cluster from SRV");
  const kept = isInsecure ? found : await validated(found, flags, log);
  if (kept.length > 0) {
    return kept.map(({ name, port, priority, weight }) => ({ host: name, port, priority, weight }));
  }
  if (flags.areEndpointsGiven && given.length > 0) return given;
  throw new ProxyStartError(
    `gateway: none of the endpoints of --discovery-srv=${domain} has a certificate for that domain: ` +
      `${urls.join(",")}; --insecure-discovery takes them all the same`,
  );
}

/** Those whose certificate is for the domain. @throws ProxyStartError */
async function validated<T extends SrvRecord & { readonly scheme: string }>(
  records: readonly T[],
  { srvDomain, trustedCaFile }: GatewayFlags,
  log: Logger,
): Promise<T[]> {
  let ca: string | undefined;
  try {
    if (trustedCaFile !== "") ca = readTextFile(trustedCaFile, CA_BYTES_MAX);
  } catch (error) {
    throw new ProxyStartError(
      `gateway: cannot read --trusted-ca-file ${trustedCaFile}: ${systemReason(error)}`,
    );
  }
  const kept: T[] = [];
  for (const record of records) {
    const { name: host, port, scheme } = record;
    const why =
      scheme === "https" ? await handshakeError(host, port, srvDomain, ca) : "it is not https";
    if (why === undefined) kept.push(record);
    else {
      const details = { endpoint: `${scheme}://${host}:${port}`, reason: why };
      log.warn(details, "failed to validate discovered endpoint");
    }
  }
  return kept;
}

/** @returns undefined if its certificate is valid */
function handshakeError(
  host: string,
  port: number,
  servername: string,
  ca: string | undefined,
): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, servername, ...(ca === undefined ? {} : { ca }) });
    socket.setTimeout(HANDSHAKE_MS, () => {
      resolve(`no handshake within ${HANDSHAKE_MS} ms`);
      socket.destroy();
    });
    socket.once("secureConnect", () => {
      resolve(undefined);
      socket.destroy();
    });
    socket.once("error", ({ message }) => resolve(message));
  });
}

/** A gateway that forwards to itself would use up all its connections. @throws ProxyStartError */
async function checkNoLoop(listen: HostPort, remotes: readonly Remote[]): Promise<void> {
  const addressesOf = async (host: string, what: string) => {
    try {
      return (await lookup(host, { all: true })).map(({ address }) => address);
    } catch {
      throw new ProxyStartError(`gateway: failed to resolve ${what}: ${host}`);
    }
  };
  const own = await addressesOf(listen.host || "::", "listen host");
  for (const remote of remotes) {
    const addresses = await addressesOf(remote.host, "endpoint host");
    const address = addresses.find((one) => own.includes(one));
    if (remote.port !== listen.port || address === undefined) continue;
    throw new ProxyStartError(
      `SRV or endpoint (${hostPortText(remote)}->${address}:${remote.port}) should not resolve to the ` +
        `gateway listen addr (${hostPortText(listen)})`,
    );
  }
}
