import type { ClusterToken } from "../bootstrap/io.js";
import type { StartPlan } from "../bootstrap/start-plan.js";
import type { Config } from "../config/config.js";
import type { Logger } from "../log/logger.js";
import { readPeerTrust } from "../tls/peer-trust.js";
import { checkFirstStart, hasBegun, identityLeft } from "../wal/data-dir.js";

/**
 * Plans the start of a member without a log.
 *
 * @returns undefined if there is a log
 * @throws StartPlanError, DiscoveryError, SrvError, DataDirAccessError
 */
export async function planFirstStart(config: Config, log: Logger): Promise<StartPlan | undefined> {
  const { dataDir, discovery } = config;
  const walDir = config.walDir || undefined;
  if (hasBegun(dataDir, walDir)) {
    if (discovery.url !== "") {
      log.warn(
        { dataDir },
        "discovery token is ignored since cluster already initialized; valid logs are found",
      );
    }
    return undefined;
  }
  const { planStart } = await import("../bootstrap/plan-start.js");
  const { nodeStartIo } = await import("../bootstrap/io.js");
  const initialCluster = await initialClusterOf(config, log);
  const io = nodeStartIo(
    (dir, wal) => identityLeft(dir, wal || undefined),
    await readPeerTrust(config),
    (message) => log.warn(message),
  );
  const plan = await planStart(
    { ...config, initialCluster, discoveryUrl: discovery.url },
    { ...io, token: await tokenOf(config, log) },
  );
  checkFirstStart(dataDir, walDir, plan);
  return plan;
}

/** @throws SrvError */
async function initialClusterOf(config: Config, log: Logger): Promise<string> {
  const { discovery, name, initialAdvertisePeerUrls: peerUrls } = config;
  const { srvDomain: domain, srvName: suffix } = discovery;
  if (domain === "") return config.initialCluster;
  const { srvInitialCluster } = await import("../discovery/srv.js");
  const initialCluster = await srvInitialCluster({ domain, suffix }, { name, peerUrls });
  log.info({ domain, initialCluster }, "got bootstrap from DNS for etcd-server");
  return initialCluster;
}

async function tokenOf({ discovery }: Config, log: Logger): Promise<ClusterToken | undefined> {
  if (discovery.url === "") return undefined;
  const { DiscoveryToken } = await import("../discovery/token.js");
  const { httpRegistry } = await import("../discovery/registry.js");
  return new DiscoveryToken(discovery.url, httpRegistry(discovery.httpProxy), log);
}
