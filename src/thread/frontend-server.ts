import { rmSync } from "node:fs";
import type { Config } from "../config/config.js";
import {
  BODIES_BYTES_MAX,
  type Frontend,
  type FrontendOptions,
  type PortSharing,
} from "../frontend/frontend.js";
import { HeadText } from "../frontend/head-text.js";
import type { RingGateway } from "../frontend/ring-gateway.js";
import { loadUws, UwsFrontend } from "../frontend/uws.js";
import type { Logger } from "../log/logger.js";
import type { MetricCells } from "../metrics/cells.js";
import { cellOf } from "../metrics/families.js";
import { connectionsMax } from "./descriptors.js";

const CONNECTIONS = cellOf("frontendConnections");
const REFUSED = cellOf("frontendRefused");
const TOO_MANY = cellOf("frontendTooMany");
const SLOW_CLIENTS = cellOf("frontendSlowClients");

export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

export interface MadeFrontend {
  readonly frontend: Frontend;
  /** Whether other threads can listen on the same ports. */
  readonly canShare: boolean;
}

/**
 * Serves all client URLs on the main thread.
 *
 * @returns the TCP endpoints, with the ports the system gave
 * @throws ListenError
 */
export async function listen(frontend: Frontend, config: Config, log: Logger): Promise<Endpoint[]> {
  const sharing: PortSharing = config.frontendThreads > 1 ? "first" : "alone";
  const endpoints: Endpoint[] = [];
  for (const url of config.listenClientUrls) {
    if (url.scheme === "unix") {
      const path = `${url.host}:${url.port}`;
      rmSync(path, { force: true });
      await frontend.listenUnix(path);
      log.info(`serving client requests on unix://${path}`);
    } else {
      const port = await frontend.listen(url.host, url.port, sharing);
      endpoints.push({ host: url.host, port });
      log.info(`serving insecure client requests on ${url.host}:${port}`);
    }
  }
  return endpoints;
}

/** Serves the main thread's endpoints on one more thread. @throws ListenError */
export async function joinFrontend(
  config: Config,
  gateway: RingGateway,
  clusterId: bigint,
  log: Logger,
  metrics: MetricCells,
  endpoints: readonly Endpoint[],
): Promise<Frontend> {
  const { frontend } = await makeFrontend(config, gateway, clusterId, log, metrics);
  for (const { host, port } of endpoints) await frontend.listen(host, port, "joins");
  return frontend;
}

/** The frontend that the configuration and the platform allow; it does not listen yet. */
export async function makeFrontend(
  config: Config,
  gateway: RingGateway,
  clusterId: bigint,
  log: Logger,
  metrics: MetricCells,
): Promise<MadeFrontend> {
  const options: FrontendOptions = {
    heads: new HeadText(clusterId, config.corsOrigins),
    connectionsMax: connectionsMax(config.frontendThreads),
    bodiesBytesMax: BODIES_BYTES_MAX,
    onConnection: (change) => metrics.add(CONNECTIONS, change),
    onRefused: () => metrics.add(REFUSED, 1),
    onTooMany: () => metrics.add(TOO_MANY, 1),
    onSlowClient: (backlogBytes) => {
      metrics.add(SLOW_CLIENTS, 1);
      log.warn({ backlogBytes }, "cut off a client that does not read its answer");
    },
  };
  if (config.frontendKind === "uws") {
    try {
      return { frontend: await UwsFrontend.create(loadUws(), gateway, options), canShare: true };
    } catch (error) {
      log.warn(
        { err: error },
        "uWebSockets.js does not load on this platform; serving with node:http, which is slower",
      );
    }
  }
  const { NodeFrontend } = await import("../frontend/node-http.js");
  return { frontend: new NodeFrontend(gateway, options), canShare: false };
}
