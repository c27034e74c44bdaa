import type { Config } from "../config/config.js";
import type { LocalHandler } from "../messages/local.js";
import type { FramedRequest } from "../messages/requests.js";
import { NOT_FOUND } from "../v2/plain.js";
import { isProbePath } from "../v2/probes.js";
import { BODIES_BYTES_MAX, BodyRoom } from "./body-room.js";
import type { Exchange, Frontend, Gateway } from "./frontend.js";
import { HeadText } from "./head-text.js";
import { LARGE_LIMITS, LargeRequests } from "./large-requests.js";
import { answerLater, answerLocally, localHead } from "./local-responses.js";
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
 * @returns undefined where no URL is given @throws ListenError
 */
export async function listenForMetrics(
  config: Config,
  gateway: Gateway,
  profiles: LocalHandler,
): Promise<Frontend | undefined> {
  if (config.listenMetricsUrls.length === 0) return undefined;
  const { NodeFrontend } = await import("./node-http.js");
  const frontend = new NodeFrontend(new MetricsGateway(gateway, profiles), {
    heads: new HeadText(0n, []),
    connectionsMax: CONNECTIONS_MAX,
    bodyRoom: new BodyRoom(BODIES_BYTES_MAX),
    largeRequests: new LargeRequests(LARGE_LIMITS),
    onConnection: () => undefined,
    onRefused: () => undefined,
    onTooMany: () => undefined,
    onSlowClient: () => undefined,
  });
  for (const url of config.listenMetricsUrls) await listenOn(frontend, url, "alone");
  return frontend;
}

/** Lets requests for these paths through, and answers those for profiles. */
class MetricsGateway implements Gateway {
  readonly #gateway: Gateway;
  readonly #profiles: LocalHandler;

  constructor(gateway: Gateway, profiles: LocalHandler) {
    this.#gateway = gateway;
    this.#profiles = profiles;
  }

  request(exchange: Exchange, request: FramedRequest): number | undefined {
    if (PATHS.has(request.path) || isProbePath(request.path))
      return this.#gateway.request(exchange, request);
    const { method, path, query, body } = request;
    const local = this.#profiles({ method, path, query, body });
    if (local !== undefined) {
      if (local instanceof Promise) answerLater(exchange, local);
      else answerLocally(exchange, local);
      return undefined;
    }
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
