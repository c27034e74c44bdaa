import type { Config } from "../config/config.js";
import type { ListenUrl } from "../config/urls.js";
import {
  BODIES_BYTES_MAX,
  type Frontend,
  type FrontendOptions,
  type PortSharing,
} from "../frontend/frontend.js";
import { HeadText } from "../frontend/head-text.js";
import { ListenError } from "../frontend/listen-error.js";
import type { RingGateway } from "../frontend/ring-gateway.js";
import { loadUws, UwsFrontend } from "../frontend/uws.js";
import type { Logger } from "../log/logger.js";
import type { MetricCells } from "../metrics/cells.js";
import { cellOf } from "../metrics/families.js";
import { bindAddressOf, clearSocketPath } from "../peer/bind-address.js";
import { connectionsMax } from "./descriptors.js";
import { checkSoleListener, whyNotBound } from "./port-check.js";

const CONNECTIONS = cellOf("frontendConnections");
const REFUSED = cellOf("frontendRefused");
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

export interface Listening {
  /** The TCP endpoints, with the ports the system gave. */
  readonly endpoints: readonly Endpoint[];
  /** To be logged when clients are served. */
  readonly news: readonly string[];
}

/**
 * Binds all client URLs on the main thread. What comes waits in the gateway until that serves.
 *
 * @throws ListenError
 */
export async function listen(frontend: Frontend, config: Config): Promise<Listening> {
  const sharing: PortSharing = config.frontendThreads > 1 ? "first" : "alone";
  const endpoints: Endpoint[] = [];
  const news: string[] = [];
  for (const url of config.listenClientUrls) {
    const endpoint = await listenOn(frontend, url, sharing);
    if (endpoint === undefined) news.push(`serving client requests on ${url.text}`);
    else {
      endpoints.push(endpoint);
      news.push(`serving insecure client requests on ${url.host}:${endpoint.port}`);
    }
  }
  return { endpoints, news };
}

/** @returns undefined for a unix socket @throws ListenError */
export async function listenOn(
  frontend: Frontend,
  url: ListenUrl,
  sharing: PortSharing,
): Promise<Endpoint | undefined> {
  if (url.scheme === "unix") {
    const path = `${url.host}:${url.port}`;
    const why = await clearSocketPath(path);
    if (why !== undefined) throw new ListenError(path, why);
    await frontend.listenUnix(path);
    return undefined;
  }
  const host = await bindAddressOf(url.host);
  try {
    const port = await frontend.listen(host, url.port, sharing);
    if (sharing === "first") checkSoleListener(host, port);
    return { host, port };
  } catch (error) {
    throw new ListenError(`${url.host}:${url.port}`, await whyNotBound(host, url.port, error));
  }
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
  const heads = new HeadText(clusterId, config.corsOrigins);
  const { frontend } = await makeFrontend(config, gateway, heads, log, metrics);
  for (const { host, port } of endpoints) await frontend.listen(host, port, "joins");
  return frontend;
}

/** The frontend that the configuration and the platform allow; it does not listen yet. */
export async function makeFrontend(
  config: Config,
  gateway: RingGateway,
  heads: HeadText,
  log: Logger,
  metrics: MetricCells,
): Promise<MadeFrontend> {
  const options: FrontendOptions = {
    heads,
    connectionsMax: connectionsMax(config.frontendThreads),
    bodiesBytesMax: BODIES_BYTES_MAX,
    onConnection: (change) => metrics.add(CONNECTIONS, change),
    onRefused: () => metrics.add(REFUSED, 1),
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
