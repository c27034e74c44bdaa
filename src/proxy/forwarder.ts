import type { ClientRequest, IncomingMessage, ServerResponse } from "node:http";
import type { Logger } from "../log/logger.js";
import type { Endpoints, ProxyEndpoint } from "./endpoints.js";
import { endToEnd, type RawHeaders, valuesOf } from "./headers.js";
import type { DropReason } from "./metrics.js";
import { RoundTripError } from "./proxy-error.js";
import { isRepeatable } from "./repeatable.js";
import type { Outgoing, Upstream } from "./upstream.js";

export interface ForwarderParts {
  readonly endpoints: Endpoints;
  readonly upstream: Upstream;
  readonly log: Pick<Logger, "info" | "warn">;
  readonly metrics: ForwarderMetrics;
}

export interface ForwarderMetrics {
  dropped(method: string, reason: DropReason): void;
  handled(method: string, status: number, seconds: number): void;
}

/** Set here instead; 100 (Continue) was answered before the body came. */
const NOT_SENT: ReadonlySet<string> = new Set(["content-length", "expect", "x-forwarded-for"]);
/** Those of the response to a browser are the proxy's. */
const CORS: ReadonlySet<string> = new Set([
  "access-control-allow-headers",
  "access-control-allow-methods",
  "access-control-allow-origin",
]);
const NOTHING: ReadonlySet<string> = new Set();

/** Sends requests to the members, and their responses back (etcd proxy/httpproxy/reverse.go). */
export class Forwarder {
  readonly #parts: ForwarderParts;

  constructor(parts: ForwarderParts) {
    this.#parts = parts;
  }

  /**
   * @param body the whole one, as it may have to be sent again
   * @param extra headers of the response, raw, in place of the member's own of these names
   */
  async forward(
    request: IncomingMessage,
    response: ServerResponse,
    body: Buffer | undefined,
    extra: RawHeaders,
  ): Promise<void> {
    const { endpoints, log, metrics } = this.#parts;
    const { method = "GET" } = request;
    const startMs = performance.now();
    const available = endpoints.available();
    if (available.length === 0) {
      metrics.dropped(method, "zero_endpoints");
      log.warn("httpproxy: zero endpoints currently available");
      answerMessage(response, 503, "httpproxy: zero endpoints currently available", extra);
      return;
    }
    const outgoing = outgoingOf(request, body);
    const exchange = new Exchange(response);
    const upstream = await this.#firstResponse(available, outgoing, exchange);
    if (exchange.isGone) {
      upstream?.destroy();
      return;
    }
    if (upstream === undefined) {
      const message = `httpproxy: unable to get response from ${available.length} endpoint(s)`;
      metrics.dropped(method, "failed_getting_response");
      log.warn(message);
      answerMessage(response, 502, message, extra);
      return;
    }
    const { statusCode: status = 502, statusMessage } = upstream;
    metrics.handled(method, status, (performance.now() - startMs) / 1000);
    const headers = endToEnd(upstream.rawHeaders, extra.length > 0 ? CORS : NOTHING);
    response.writeHead(status, statusMessage, [...extra, ...headers]);
    // The headers of a watch come long before its event; others leave with the body, in one write.
    if (upstream.headers["content-length"] === undefined) {
      setImmediate(() => response.flushHeaders());
    }
    upstream.on("error", () => undefined); // "close" tells, too.
    upstream.on("close", () => {
      // Half a response must not look like a whole one.
      if (!upstream.complete) response.destroy();
    });
    // What the client does not read stops the member's connection, and takes up no room here.
    upstream.pipe(response);
  }

  /** @returns undefined if there is none, or if nobody waits for it any more */
  async #firstResponse(
    available: readonly ProxyEndpoint[],
    outgoing: Outgoing,
    exchange: Exchange,
  ): Promise<IncomingMessage | undefined> {
    const { endpoints, log, metrics } = this.#parts;
    const { method, target, body } = outgoing;
    for (const endpoint of available) {
      try {
        return await this.#ask(endpoint, outgoing, exchange);
      } catch (error) {
        if (!(error instanceof RoundTripError)) throw error;
        if (exchange.isGone) return undefined;
        metrics.dropped(method, "failed_sending_request");
        const details = { endpoint: endpoint.url, reason: error.message };
        log.warn(details, "httpproxy: failed to direct request");
        endpoints.failed(endpoint, error.message);
        if (error.isSent && !isRepeatable(method, target, body)) return undefined;
      }
    }
    return undefined;
  }

  /** @throws RoundTripError */
  async #ask(
    { url }: ProxyEndpoint,
    outgoing: Outgoing,
    exchange: Exchange,
  ): Promise<IncomingMessage> {
    const { upstream } = this.#parts;
    const { method, target, body } = outgoing;
    const begun = (request: ClientRequest) => exchange.begin(request);
    try {
      return await upstream.roundTrip(url, outgoing, begun);
    } catch (error) {
      const isStale = error instanceof RoundTripError && error.wasReused && !exchange.isGone;
      if (!isStale || !isRepeatable(method, target, body)) throw error;
      // The member closed the idle connection just then, or has restarted.
      return await upstream.roundTrip(url, outgoing, begun, true);
    }
  }
}

/** A client's request, and the request that it became. */
class Exchange {
  isGone = false;
  #request: ClientRequest | undefined;

  constructor(response: ServerResponse) {
    response.once("close", () => {
      if (response.writableFinished) return;
      this.isGone = true;
      this.#request?.destroy();
    });
  }

  begin(request: ClientRequest): void {
    this.#request = request;
    if (this.isGone) request.destroy();
  }
}

function outgoingOf(request: IncomingMessage, body: Buffer | undefined): Outgoing {
  const { method = "GET", url = "/", rawHeaders, socket } = request;
  const headers = endToEnd(rawHeaders, NOT_SENT);
  if (valuesOf(rawHeaders, "host").length === 0) headers.push("Host", "ringd");
  const before = valuesOf(rawHeaders, "x-forwarded-for");
  const address = socket.remoteAddress?.replace(/^::ffff:/, "");
  const path = address === undefined ? before : [...before, address];
  if (path.length > 0) headers.push("X-Forwarded-For", path.join(", "));
  if (body !== undefined) headers.push("Content-Length", String(body.length));
  // A proxy may also be asked for the whole URL.
  const target = url.replace(/^https?:\/\/[^/?#]*/i, "") || "/";
  return { method, target: target.startsWith("?") ? `/${target}` : target, headers, body };
}

/** As etcd's HTTPError: JSON without a newline. */
export function answerMessage(
  response: ServerResponse,
  status: number,
  message: string,
  extra: RawHeaders,
): void {
  const body = JSON.stringify({ message });
  const length = String(Buffer.byteLength(body));
  response.writeHead(status, [
    ...extra,
    ...["Content-Type", "application/json", "Content-Length", length],
  ]);
  response.end(body);
}
