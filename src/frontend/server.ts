import type { Config } from "../config/config.js";
import { clientListeners, type FrontendKind, hasTlsThread } from "../config/frontends.js";
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
import type { Frontend, FrontendOptions, Gateway, PortSharing } from "./frontend.js";
import { HeadText } from "./head-text.js";
import { LARGE_LIMITS, LargeRequests } from "./large-requests.js";
import { ListenError } from "./listen-error.js";
import { checkSoleListener, whyNotBound } from "./port-check.js";
import type { Protocols } from "./tls-door.js";
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
  for (const { url, kind } of plainListeners(config)) {
    const frontend = frontends.of(kind);
    try {
      const isShared = frontend === frontends.shared;
      const endpoint = await listenOn(frontend, url, isShared ? sharing : "alone");
      if (endpoint !== undefined && isShared) endpoints.push(endpoint);
      news.push(...servingNews(url, "http", endpoint));
    } catch (error) {
      if (!(error instanceof ListenError) || url.text !== config.optionalClientUrl) throw error;
      log.warn(`${error.message}; not serving clients of the old port`);
    }
  }
  return { endpoints, news };
}

/** Those of the main thread and of the threads that share its ports. */
function plainListeners(config: Config) {
  return clientListeners(config).filter(({ protocols }) => protocols === "http");
}

/** The kinds of frontend that the main thread needs. */
export function plainKinds(config: Config): readonly FrontendKind[] {
  return plainListeners(config).map(({ kind }) => kind);
}

/**
 * Binds all ports with TLS, in a thread of their own: handshakes and ciphers load no other.
 *
 * @throws ListenError
 */
export async function listenSecurely(
  config: Config,
  gateway: Gateway,
  heads: HeadText,
  log: Logger,
  metrics: MetricCells,
): Promise<{ frontend: Frontend; news: readonly string[] }> {
  const { nodeTls } = await import("./node-tls.js");
  const tls = await nodeTls(config, log, metrics, metrics);
  const { NodeFrontend } = await import("./node-http.js");
  const options = frontendOptions(config, heads, log, metrics)("node");
  const frontend = new NodeFrontend(gateway, options, tls);
  const news = [tls.info];
  for (const { url, protocols } of clientListeners(config)) {
    if (protocols === "http") continue;
    const endpoint = await listenOn(frontend, url, "alone", protocols);
    news.push(...servingNews(url, protocols, endpoint));
  }
  return { frontend, news };
}

/** etcd's lines. */
function servingNews(
  { text, host }: ListenUrl,
  protocols: Protocols,
  endpoint: Endpoint | undefined,
): string[] {
  const where = endpoint === undefined ? text : `${host}:${endpoint.port}`;
  const isInsecure = protocols !== "https" && endpoint !== undefined;
  return [
    ...(isInsecure ? [`serving insecure client requests on ${where}`] : []),
    ...(protocols === "http" && !isInsecure ? [`serving client requests on ${where}`] : []),
    ...(protocols === "http" ? [] : [`serving client requests on ${where}`]),
  ];
}

/** @returns undefined for a unix socket @throws ListenError */
export async function listenOn(
  frontend: Frontend,
  url: ListenUrl,
  sharing: PortSharing,
  protocols: Protocols = "http",
): Promise<Endpoint | undefined> {
  if (url.scheme.startsWith("unix")) {
    const path = `${url.host}:${url.port}`;
    const why = await clearSocketPath(path);
    if (why !== undefined) throw new ListenError(path, why);
    await frontend.listenUnix(path, protocols);
    return undefined;
  }
  const host = await bindAddressOf(url.host);
  try {
    const port = await frontend.listen(host, url.port, sharing, protocols);
    if (sharing === "first") checkSoleListener(host, port);
    return { host, port };
  } catch (error) {
    throw new ListenError(`${url.host}:${url.port}`, await whyNotBound(host, url.port, error));
  }
}

/** Serves the main thread's endpoints on one more thread. @throws ListenError */
export async function joinFrontend(
  config: Config,
  gateway: Gateway,
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
  gateway: Gateway,
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
  if (wanted.has("node") || (wanted.has("uws") && uws === undefined)) {
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
  const ofPlain = plainListeners(config).length > 0 ? config.frontendThreads : 0;
  const threads = ofPlain + (hasTlsThread(config) ? 1 : 0);
  const { clientLimits, listenClientUrls } = config;
  const most = Math.min(
    connectionsMax(threads),
    Math.ceil((clientLimits.connectionsMax || Number.POSITIVE_INFINITY) / threads),
  );
  const ports = new Set(listenClientUrls.map(({ port }) => port));
  const ofAddress = clientLimits.connectionsPerAddressMax;
  const open = { uws: 0, node: 0 };
  // Other threads have connections, too.
  const openMax = () => (threads > 1 ? Number.POSITIVE_INFINITY : open.uws + open.node);
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
    needsRemote: config.auditLog !== "",
    needsTrace: config.tracing !== undefined,
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
