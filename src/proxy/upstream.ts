import {
  type ClientRequest,
  Agent as HttpAgent,
  request as httpRequest,
  type IncomingMessage,
  type RequestOptions,
} from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import type { ConnectionOptions, TLSSocket } from "node:tls";
import { messageOf } from "../lib/errors.js";
import { RoundTripError } from "./proxy-error.js";

/** As etcd's DefaultMaxIdleConnsPerHost. */
const IDLE_CONNECTIONS_MAX = 128;
/** Below the ten seconds after which uWebSockets.js closes an idle connection. */
const IDLE_MS = 4000;
const KEEP_ALIVE_MS = 30_000;

export interface UpstreamTimes {
  readonly dialTimeoutMs: number;
  readonly writeTimeoutMs: number;
  /** 0 for none. */
  readonly readTimeoutMs: number;
}

export interface Outgoing {
  readonly method: string;
  /** Path and query. */
  readonly target: string;
  /** Raw, with a Host. */
  readonly headers: readonly string[];
  readonly body: Buffer | undefined;
}

/** Connections to the members, kept and used again. */
export class Upstream {
  readonly #times: UpstreamTimes;
  readonly #http: HttpAgent;
  readonly #https: HttpsAgent;
  #tls: ConnectionOptions;

  /** @param tls of connections to members with https */
  constructor(times: UpstreamTimes, tls: ConnectionOptions = {}) {
    const options = {
      keepAlive: true,
      keepAliveMsecs: KEEP_ALIVE_MS,
      maxFreeSockets: IDLE_CONNECTIONS_MAX,
      timeout: IDLE_MS, // Of idle ones: nothing listens to it while a request is under way.
    };
    this.#times = times;
    this.#tls = tls;
    this.#http = new HttpAgent(options);
    this.#https = new HttpsAgent(options);
  }

  /** For new connections. */
  useTls(tls: ConnectionOptions): void {
    this.#tls = tls;
  }

  close(): void {
    this.#http.destroy();
    this.#https.destroy();
  }

  /**
   * Sends a request.
   *
   * @param begun gets the request, to abort it when the client is gone
   * @param isFresh on a new connection
   * @returns the response, once its headers are there
   * @throws RoundTripError
   */
  roundTrip(
    url: string,
    outgoing: Outgoing,
    begun: (request: ClientRequest) => void,
    isFresh = false,
  ): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const { method, target, body } = outgoing;
      const options: RequestOptions = {
        method,
        path: target,
        // @types/node lacks the raw form.
        headers: outgoing.headers as unknown as Record<string, string>,
        setHost: false,
        ...placeOf(url),
      };
      const isHttps = url.startsWith("https:");
      const agent = isHttps ? this.#https : this.#http;
      const request = isHttps
        ? httpsRequest({ ...options, ...this.#tls, agent: isFresh ? false : agent })
        : httpRequest({ ...options, agent: isFresh ? false : agent });
      let isConnected = false;
      const failed = (why: string) => new RoundTripError(why, isConnected, request.reusedSocket);
      request.on("error", (error) => {
        reject(error instanceof RoundTripError ? error : failed(messageOf(error)));
      });
      request.on("response", resolve);
      const onConnected = () => {
        isConnected = true;
      };
      this.#watchTimes(request, onConnected, (why) => request.destroy(failed(why)));
      begun(request);
      request.end(body);
    });
  }

  #watchTimes(request: ClientRequest, onConnected: () => void, fail: (why: string) => void): void {
    const { dialTimeoutMs, writeTimeoutMs, readTimeoutMs } = this.#times;
    const limit = (ms: number, what: string) =>
      setTimeout(() => fail(`${what} timeout after ${ms} ms`), ms);
    request.once("socket", (socket) => {
      let writing: NodeJS.Timeout | undefined;
      const connected = () => {
        onConnected();
        if (writeTimeoutMs > 0 && !request.writableFinished) {
          writing = limit(writeTimeoutMs, "write");
        }
      };
      request.once("finish", () => clearTimeout(writing));
      request.once("close", () => clearTimeout(writing));
      if (readTimeoutMs > 0) {
        request.setTimeout(readTimeoutMs, () => fail(`read timeout after ${readTimeoutMs} ms`));
      }
      if (!socket.connecting) {
        connected();
        return;
      }
      const dialing = dialTimeoutMs > 0 ? limit(dialTimeoutMs, "dial") : undefined;
      const isTls = (socket as TLSSocket).encrypted === true;
      socket.once(isTls ? "secureConnect" : "connect", () => {
        clearTimeout(dialing);
        connected();
      });
      socket.once("close", () => clearTimeout(dialing));
    });
  }
}

function placeOf(url: string): RequestOptions {
  const [, socketPath = ""] = /^unixs?:\/\/(.*)$/.exec(url) ?? [];
  if (socketPath !== "") return { socketPath };
  const { hostname, port, protocol } = new URL(url);
  return {
    host: hostname.replace(/^\[(.*)\]$/, "$1"),
    port: port === "" ? (protocol === "https:" ? 443 : 80) : port,
  };
}
