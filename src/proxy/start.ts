import { join } from "node:path";
import type { ConnectionOptions } from "node:tls";
import { nodeStartIo } from "../bootstrap/io.js";
import type { Config } from "../config/config.js";
import { clientListeners } from "../config/frontends.js";
import { parseInitialCluster } from "../config/initial-cluster.js";
import { isSecure, type TlsSettings } from "../config/tls.js";
import { httpRegistry } from "../discovery/registry.js";
import { srvInitialCluster } from "../discovery/srv.js";
import { DiscoveryToken } from "../discovery/token.js";
import { ListenError } from "../frontend/listen-error.js";
import type { NodeTls } from "../frontend/node-http.js";
import { listenOn } from "../frontend/server.js";
import { compareBytes } from "../go/url-list.js";
import type { Logger } from "../log/logger.js";
import { checkFileDescriptorLimit, connectionsMax } from "../process/descriptors.js";
import { notifySupervisor } from "../process/notify.js";
import { contextOptions } from "../tls/contexts.js";
import { TlsIdentity } from "../tls/identity.js";
import type { PeerTrust } from "../tls/peer-checks.js";
import { ensureSelfSigned } from "../tls/self-signed.js";
import { makeDir } from "../wal/data-dir.js";
import { ClusterFile } from "./cluster-file.js";
import { Endpoints } from "./endpoints.js";
import { Forwarder } from "./forwarder.js";
import { MemberWatch } from "./members.js";
import { ProxyMetrics } from "./metrics.js";
import { openProcessLog } from "./process-log.js";
import { ProxyStartError } from "./proxy-error.js";
import { ProxyServer } from "./server.js";
import { Upstream } from "./upstream.js";

/** Each client connection may have one to a member. */
const DESCRIPTORS_PER_CLIENT = 2;
/** Time for requests in flight when the process is told to stop; watches would never end. */
const STOP_MS = 500;

/**
 * Runs a proxy until the process is told to stop. Ports are bound first; requests get 503 until the
 * members are found.
 *
 * @throws RingdError for an operator to fix
 */
export async function startProxy(config: Config): Promise<void> {
  const { proxy } = config;
  const log = openProcessLog(config.log, "proxy");
  for (const warning of config.warnings) log.warn(warning);
  if (config.listenMetricsUrls.length > 0) {
    log.warn("--listen-metrics-urls has no effect: a proxy serves /metrics on its client URLs");
  }
  if (config.tracing !== undefined) {
    log.warn("--experimental-enable-distributed-tracing has no effect: members make the traces");
  }
  log.info("v2 API proxy starting");
  checkFileDescriptorLimit();
  const endpoints = new Endpoints(proxy.failureWaitMs, log);
  const metrics = new ProxyMetrics();
  const tls = await clientTls(config, log, metrics);
  const trust = await openTrust(config.peerTls, log);
  const { upstreamTls } = config;
  const shown = upstreamTls === config.peerTls ? trust : await openTrust(upstreamTls, log);
  const upstream = new Upstream(proxy, upstreamOptions(shown, config));
  shown?.onChange(() => upstream.useTls(upstreamOptions(shown, config)));
  const server = new ProxyServer({
    forwarder: new Forwarder({ endpoints, upstream, log, metrics }),
    ...{ endpoints, metrics, tls, corsOrigins: config.corsOrigins },
    isReadonly: proxy.mode === "readonly",
    // Each URL has a server of its own.
    connectionsMax: connectionsMax(DESCRIPTORS_PER_CLIENT * config.listenClientUrls.length),
  });
  await listenOnAll(server, config, log);
  const dir = join(config.dataDir, "proxy");
  const file = new ClusterFile(dir);
  makeDir(dir, "data directory");
  const known = file.read();
  const { url, srvDomain } = config.discovery;
  if (known !== undefined && url + srvDomain !== "") {
    log.warn(
      { clusterFile: file.path },
      "discovery ignored since the proxy has already been initialized",
    );
  }
  const peerUrls = known ?? (await findPeers(config, log));
  log.info({ peerUrls }, "proxy using peer URLs");
  const io = nodeStartIo(
    () => undefined,
    trust,
    (message) => log.warn(message),
  );
  const members = new MemberWatch(peerUrls, io.get, endpoints, file, log);
  stopOnSignals(log, server, members, upstream);
  // Whoever waits for the line that a member logs, too, may send requests.
  const isFound = await members.refresh();
  void members.run(proxy.refreshIntervalMs, isFound);
  log.info("ready to serve client requests");
  notifySupervisor("READY=1", log);
}

/** How https is served, if a URL is. @throws TlsFileError */
async function clientTls(
  config: Config,
  log: Logger,
  metrics: ProxyMetrics,
): Promise<NodeTls | undefined> {
  if (!config.listenClientUrls.some(isSecure)) return undefined;
  const { nodeTls } = await import("../frontend/node-tls.js");
  const { cells } = metrics;
  const tls = await nodeTls(config, log, cells, cells);
  metrics.showTls();
  log.info(tls.info);
  return tls;
}

/** Follows the files as they change. @throws TlsFileError */
async function openTrust(
  settings: TlsSettings | undefined,
  log: Logger,
): Promise<TlsIdentity | undefined> {
  if (settings === undefined) return undefined;
  const made = await ensureSelfSigned(settings, Date.now());
  if (made !== undefined) log.info(made);
  const trust = await TlsIdentity.open(settings, { log, metrics: undefined });
  for (const warning of trust.material.warnings) log.warn(warning);
  return trust;
}

/** As in etcd, a proxy with a generated certificate does not verify those of the members. */
function upstreamOptions(trust: PeerTrust | undefined, { clientTls }: Config): ConnectionOptions {
  const isVerified = clientTls?.auto === undefined && trust?.settings.auto === undefined;
  if (trust === undefined) return { rejectUnauthorized: isVerified };
  const { settings, material } = trust;
  return { ...contextOptions(settings, material), rejectUnauthorized: isVerified };
}

/** @throws ListenError */
async function listenOnAll(server: ProxyServer, config: Config, log: Logger): Promise<void> {
  for (const { url, protocols } of clientListeners(config)) {
    try {
      await listenOn(server, url, "alone", protocols);
      log.info({ host: url.text }, "v2 proxy started listening on client requests");
    } catch (error) {
      if (!(error instanceof ListenError) || url.text !== config.optionalClientUrl) throw error;
      log.warn(`${error.message}; not serving clients of the old port`);
    }
  }
}

/** The peer URLs of a first start. @throws DiscoveryError, SrvError, ProxyStartError */
async function findPeers(config: Config, log: Logger): Promise<string[]> {
  const { discovery } = config;
  const { srvDomain: domain, srvName: suffix } = discovery;
  let cluster = config.initialCluster;
  if (domain !== "") cluster = await srvInitialCluster({ domain, suffix }, undefined);
  if (discovery.url !== "") {
    const registry = httpRegistry(discovery.httpProxy);
    cluster = await new DiscoveryToken(discovery.url, registry, log).cluster();
  }
  const parsed = parseInitialCluster(cluster);
  if (parsed.kind === "invalid") {
    throw new ProxyStartError(`error setting up initial cluster: ${parsed.message}`);
  }
  return parsed.members.flatMap(({ peerUrls }) => peerUrls).sort(compareBytes);
}

function stopOnSignals(
  log: Logger,
  server: ProxyServer,
  members: MemberWatch,
  upstream: Upstream,
): void {
  let isStopping = false;
  const onSignal = (signal: NodeJS.Signals) => {
    if (isStopping) return;
    isStopping = true;
    log.info(`received signal ${signal}; shutting down`);
    notifySupervisor("STOPPING=1", log);
    members.stop();
    server.stopListening();
    setTimeout(() => {
      server.close();
      upstream.close();
      log.info("stopped");
      process.exit(0);
    }, STOP_MS);
  };
  process.on("SIGTERM", onSignal);
  process.on("SIGINT", onSignal);
}
