import { type IncomingMessage, request as startRequest } from "node:http";
import { Attempt } from "./attempt.js";
import { Connections } from "./connections.js";
import type { ClientOptions } from "./options.js";

const CONNECTIONS_MAX = 64;
const REDIRECTS_MAX = 10;

/** A request, before it is known which member gets it. */
export interface MemberRequest {
  readonly method: "GET" | "PUT" | "POST" | "DELETE";
  /** Encoded, with the query. */
  readonly path: string;
  readonly body?: string | undefined;
  readonly contentType?: string | undefined;
  /** Uses a separate connection; `Cluster.request` sets it no timeout. */
  readonly isWatch?: boolean | undefined;
  /** Treat 5xx as a result, not as a failure of the member. */
  readonly takesAnyStatus?: boolean | undefined;
}

/** Status and headers; the body is read with one of its methods, which end the request. */
export interface MemberResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly endpoint: string;
  /** @throws ConnectionLostError, or a signal's reason */
  text(): Promise<string>;
  /** Instead of `text`: the body as it comes. Leaving the loop ends the request. */
  pieces(): AsyncGenerator<string, void, undefined>;
  /** The same, as bytes. @param silenceMs after which it fails if no more comes */
  bytes(silenceMs: number): AsyncGenerator<Buffer, void, undefined>;
}

/** Sends one request to one member, once: failover and repetition are the cluster's job. */
export class Transport {
  readonly #requests: Connections;
  /** Separate, so that requests never queue behind watches. */
  readonly #watches: Connections;
  readonly #authorization: string | undefined;
  readonly #onRequest: ClientOptions["onRequest"];

  constructor(options: ClientOptions) {
    this.#requests = new Connections(options.tls, options.connectionsMax ?? CONNECTIONS_MAX);
    this.#watches = new Connections(options.tls, Number.POSITIVE_INFINITY);
    const { username = "", password = "" } = options;
    this.#authorization =
      username === ""
        ? undefined
        : `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}`;
    this.#onRequest = options.onRequest;
  }

  /**
   * @param endpoint URL of a member, without a slash at its end
   * @param timeoutMs until the response's headers; 0: no limit
   * @param signals each ends the request, also while the body is read
   * @throws EndpointError, or a signal's reason
   */
  async send(
    endpoint: string,
    request: MemberRequest,
    timeoutMs: number,
    signals: readonly AbortSignal[],
  ): Promise<MemberResponse> {
    const attempt = new Attempt(endpoint, signals);
    attempt.startTimer(timeoutMs);
    try {
      let url = new URL(endpoint + request.path);
      for (let hops = 0; ; hops++) {
        const response = await this.#sendTo(url, request, attempt);
        const { statusCode = 0, headers } = response;
        const isMoved = statusCode >= 300 && statusCode < 400 && headers.location !== undefined;
        if (isMoved && hops < REDIRECTS_MAX) {
          await attempt.text(response, true);
          url = new URL(headers.location ?? "", url);
          continue;
        }
        attempt.stopTimer();
        return {
          ...{ status: statusCode, headers, endpoint },
          text: () => attempt.text(response),
          pieces: () => attempt.pieces(response),
          bytes: (silenceMs) => attempt.bytes(response, silenceMs),
        };
      }
    } catch (error) {
      attempt.end();
      throw error;
    }
  }

  async #sendTo(url: URL, request: MemberRequest, attempt: Attempt): Promise<IncomingMessage> {
    const { method, body, contentType } = request;
    this.#onRequest?.({
      method,
      url: url.href,
      headers: contentType === undefined ? {} : { "content-type": contentType },
      body,
    });
    // As a list, which node:http sends as it is: setting headers one by one takes longer.
    const headers = ["host", url.host];
    if (contentType !== undefined) headers.push("content-type", contentType);
    if (this.#authorization !== undefined) headers.push("authorization", this.#authorization);
    if (body !== undefined) headers.push("content-length", `${Buffer.byteLength(body)}`);
    else if (method === "PUT" || method === "POST") headers.push("content-length", "0");
    const connections = request.isWatch ? this.#watches : this.#requests;
    const agent = await connections.agentFor(url);
    const { hostname, port, pathname, search } = url;
    const options = {
      agent,
      method,
      headers,
      protocol: url.protocol,
      // Without the brackets of an IPv6 address.
      hostname: hostname.startsWith("[") ? hostname.slice(1, -1) : hostname,
      ...(port === "" ? {} : { port }),
      path: pathname + search,
    };
    return await attempt.response(startRequest(options), body);
  }

  /** Closes all connections, also those in use. */
  async close(): Promise<void> {
    await Promise.all([this.#requests.close(), this.#watches.close()]);
  }
}
