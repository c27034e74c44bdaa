import type { Config } from "../config/config.js";
import type { FrontendKind } from "../config/frontends.js";
import type { ListenUrl } from "../config/urls.js";
import { assert } from "../lib/assert.js";
import type { Logger } from "../log/logger.js";
import type { MetricCells } from "../metrics/cells.js";
import { cellOf } from "../metrics/families.js";
import { bindAddressOf, clearSocketPath } from "../process/bind-address.js";
import { connectionsMax } from "../process/descriptors.js";
import { HostWhitelist } from "../v2/host-whitelist.js";
import { AddressLimit, connectionsByAddress } from "./addresses.js";
import { BODIES_BYTES_MAX, BodyRoom } from "./body-room.js";
import type { Frontend, FrontendOptions, PortSharing } from "./frontend.js";
import { HeadText } from "./head-text.js";
import { LARGE_LIMITS, LargeRequests } from "./large-requests.js";
import { ListenError } from "./listen-error.js";
import { checkSoleListener, whyNotBound } from "./port-check.js";
import type { RingGateway } from "./ring-gateway.js";
import { UnservedConnections } from "./unserved.js";
import { loadUws, UwsFrontend } from "./uws.js";

const CONNECTIONS = cellOf("frontendConnections");
const REFUSED = {
  all: cellOf("frontendRefused"),
  address: cellOf("frontendRefusedOfAddress"),
};
const HEADS_TOO_LONG = cellOf("frontendHeadsTooLong");
const MISDIRECTED = cellOf("frontendMisdirected");
const TOO_MANY = cellOf("frontendTooMany");
/** Of a rejected request's host. */
const LOGGED_HOST_MAX = 256;
const SLOW_CLIENTS = cellOf("frontendSlowClients");

export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

/** A thread's frontends: one of each kind that is configured. */
export interface MadeFrontends {
  readonly all: readonly Frontend[];
  /** The one whose ports other threads can share. */
  readonly shared: Frontend | undefined;
  readonly of: (kind: FrontendKind) => Frontend;
}

export interface Listening {
  /** The TCP endpoints, with the ports the system gave. */
  readonly endpoints: readonly Endpoint[];
  /** Logged once clients are served. */
  readonly news: readonly string[];
}

/**
 * Binds all client URLs on the main thread. Early requests wait in the gateway until it serves.
 *
 * @returns the endpoints that other threads may share
 * @throws ListenError
 */
export async function listen(
  frontends: MadeFrontends,
  config: Config,
  log: Logger,
): Promise<Listening> {
  const sharing: PortSharing = config.frontendThreads > 1 ? "first" : "alone";
  const endpoints: Endpoint[] = [];
  const news: string[] = [];
  for (const url of config.listenClientUrls) {
    const frontend = frontends.of(config.frontendKinds[url.text] ?? "uws");
    try {
      const isShared = frontend === frontends.shared;
      const endpoint = await listenOn(frontend, url, isShared ? sharing : "alone");
      if (endpoint === undefined) news.push(`serving client requests on ${url.text}`);
      else {
        if (isShared) endpoints.push(endpoint);
        news.push(`serving insecure client requests on ${url.host}:${endpoint.port}`);
      }
    } catch (error) {
      if (!(error instanceof ListenError) || url.text !== config.optionalClientUrl) throw error;
      log.warn(`${error.message}; not serving clients of the old port`);
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
  const kinds: readonly FrontendKind[] = ["uws"];
  const heads = new HeadText(clusterId, config.corsOrigins);
  const made = await makeFrontends(kinds, config, gateway, heads, log, metrics);
  const frontend = made.of("uws");
  for (const { host, port } of endpoints) await frontend.listen(host, port, "joins");
  return frontend;
}

/** Makes the configured frontends, as far as the platform supports them; none listens yet. */
export async function makeFrontends(
  kinds: Iterable<FrontendKind>,
  config: Config,
  gateway: RingGateway,
  heads: HeadText,
  log: Logger,
  metrics: MetricCells,
): Promise<MadeFrontends> {
  const wanted = new Set(kinds);
  const optionsOf = frontendOptions(config, heads, log, metrics);
  let uws: Frontend | undefined;
  if (wanted.has("uws")) {
    try {
      uws = await UwsFrontend.create(
        loadUws(config.clientLimits.headBytesMax),
        gateway,
        optionsOf("uws"),
      );
    } catch (error) {
      log.warn(
        { err: error },
        "uWebSockets.js does not load on this platform; serving over Node's sockets, which is slower",
      );
    }
  }
  let node: Frontend | undefined;
  if (uws === undefined || wanted.has("node")) {
    const { NodeFrontend } = await import("./node-http.js");
    node = new NodeFrontend(gateway, optionsOf("node"));
  }
  return {
    all: [uws, node].filter((frontend) => frontend !== undefined),
    shared: uws,
    of: (kind) => {
      const frontend = kind === "uws" ? (uws ?? node) : node;
      assert(frontend !== undefined, "a frontend exists for each kind");
      return frontend;
    },
  };
}

/** Both kinds share the thread's limits. */
function frontendOptions(
  config: Config,
  heads: HeadText,
  log: Logger,
  metrics: MetricCells,
): (kind: FrontendKind) => FrontendOptions {
  const { clientLimits, frontendThreads, listenClientUrls } = config;
  const most = Math.min(
    connectionsMax(frontendThreads),
    Math.ceil((clientLimits.connectionsMax || Number.POSITIVE_INFINITY) / frontendThreads),
  );
  const ports = new Set(listenClientUrls.map(({ port }) => port));
  const ofAddress = clientLimits.connectionsPerAddressMax;
  const open = { uws: 0, node: 0 };
  // Other threads have connections, too.
  const openMax = () => (frontendThreads > 1 ? Number.POSITIVE_INFINITY : open.uws + open.node);
  const addressLimit =
    ofAddress === 0
      ? undefined
      : new AddressLimit(ofAddress, () => connectionsByAddress(ports), openMax);
  const hosts = HostWhitelist.of(config.hostWhitelist);
  const bodyRoom = new BodyRoom(BODIES_BYTES_MAX, clientLimits.bodyBytesMax);
  const largeRequests = new LargeRequests(LARGE_LIMITS);
  const unserved = new UnservedConnections(log, metrics);
  return (kind) => ({
    heads,
    get connectionsMax() {
      return most - (kind === "uws" ? open.node : open.uws);
    },
    headBytesMax: clientLimits.headBytesMax,
    onHeadTooLong: () => metrics.add(HEADS_TOO_LONG, 1),
    hosts,
    onMisdirected: (host) => {
      metrics.add(MISDIRECTED, 1);
      log.warn(
        { host: host.slice(0, LOGGED_HOST_MAX) },
        "rejecting HTTP request to prevent DNS rebinding attacks",
      );
    },
    addressLimit,
    bodyRoom,
    largeRequests,
    onConnection: (change) => {
      open[kind] += change;
      metrics.add(CONNECTIONS, change);
    },
    onRefused: (why) => {
      metrics.add(REFUSED[why], 1);
      const what = why === "all" ? "are open" : "from its address";
      log.warn(`rejected client connection: too many ${what}`);
    },
    onUnserved: (reason) => unserved.count(reason),
    onTooMany: () => metrics.add(TOO_MANY, 1),
    onSlowClient: (backlogBytes) => {
      metrics.add(SLOW_CLIENTS, 1);
      log.warn({ backlogBytes }, "disconnected client that does not read its response");
    },
  });
}
