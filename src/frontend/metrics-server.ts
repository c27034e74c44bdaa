import type { Config } from "../config/config.js";
import { hasTlsThread } from "../config/frontends.js";
import { isSecure } from "../config/tls.js";
import type { Logger } from "../log/logger.js";
import type { LocalHandler } from "../messages/local.js";
import type { FramedRequest } from "../messages/requests.js";
import type { MetricCells } from "../metrics/cells.js";
import { NOT_FOUND } from "../v2/plain.js";
import { isProbePath } from "../v2/probes.js";
import { Backlogs } from "./backlogs.js";
import { BODIES_BYTES_MAX, BodyRoom } from "./body-room.js";
import type { Exchange, Frontend, FrontendOptions, Gateway } from "./frontend.js";
import { HeadText } from "./head-text.js";
import { LARGE_LIMITS, LargeRequests } from "./large-requests.js";
import { localHead } from "./local-responses.js";
import type { NodeTls } from "./node-http.js";
import type { RingGateway } from "./ring-gateway.js";
import { listenOn } from "./server.js";

/** Enough for probes and scrapers. */
const CONNECTIONS_MAX = 256;
const PATHS: ReadonlySet<string> = new Set(["/metrics", "/health"]);

/**
 * Serves /metrics, /health and the probes on --listen-metrics-urls, with the responses of the
 * client URLs.
 * Requests are few, so the node frontend on the main thread does.
 *
 * @param profiles answers requests for profiles, which belong here rather than on client URLs
 * @returns undefined where no URL is given @throws ListenError, TlsFileError
 */
export async function listenForMetrics(
  config: Config,
  gateway: RingGateway,
  profiles: LocalHandler,
  log: Logger,
  metrics: MetricCells,
): Promise<Frontend | undefined> {
  const { listenMetricsUrls } = config;
  if (listenMetricsUrls.length === 0) return undefined;
  let tls: NodeTls | undefined;
  if (listenMetricsUrls.some(isSecure)) {
    const { nodeTls } = await import("./node-tls.js");
    tls = await nodeTls(config, log, metrics, hasTlsThread(config) ? undefined : metrics);
  }
  const { NodeFrontend } = await import("./node-http.js");
  const options: FrontendOptions = {
    heads: new HeadText(0n, []),
    needsRemote: config.auditLog !== "",
    connectionsMax: CONNECTIONS_MAX,
    bodyRoom: new BodyRoom(BODIES_BYTES_MAX),
    largeRequests: new LargeRequests(LARGE_LIMITS),
    onConnection: () => undefined,
    onRefused: () => undefined,
    onTooMany: () => undefined,
    onSlowClient: () => undefined,
  };
  const frontend = new NodeFrontend(new MetricsGateway(gateway, profiles), options, tls);
  for (const url of listenMetricsUrls) {
    await listenOn(frontend, url, "alone", isSecure(url) ? "https" : "http");
  }
  return frontend;
}

/** Lets requests for these paths through, and answers those for profiles. */
class MetricsGateway implements Gateway {
  readonly backlogs = new Backlogs();
  readonly #gateway: RingGateway;
  readonly #profiles: LocalHandler;

  constructor(gateway: RingGateway, profiles: LocalHandler) {
    this.#gateway = gateway;
    this.#profiles = profiles;
  }

  request(exchange: Exchange, request: FramedRequest): number | undefined {
    if (PATHS.has(request.path) || isProbePath(request.path)) {
      return this.#gateway.request(exchange, request);
    }
    const served = this.#gateway.requestLocally(exchange, request, this.#profiles);
    if (served !== "elsewhere") return served;
    const { head, body: text } = NOT_FOUND;
    exchange.answer(localHead(head.status, head.contentKind), text);
    return undefined;
  }

  abort(requestId: number): void {
    this.#gateway.abort(requestId);
  }

  hold(requestId: number): void {
    this.#gateway.hold(requestId);
  }

  resume(requestId: number): void {
    this.#gateway.resume(requestId);
  }
}
