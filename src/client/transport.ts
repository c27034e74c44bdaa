import { createRequire } from "node:module";
import type { Dispatcher, Agent as UndiciAgent } from "undici";
import { ConnectError, ConnectionLostError, RequestTimeoutError } from "./errors.js";
import type { ClientOptions, SentRequest } from "./options.js";

// The two parts in use: all of undici (fetch, WebSocket, caches) takes three times as long to load, which is
// felt by whoever types a command. Its version is pinned exactly.
const require = createRequire(import.meta.url);
const Agent: typeof UndiciAgent = require("undici/lib/dispatcher/agent.js");
const request: (
  this: Dispatcher,
  options: Dispatcher.RequestOptions,
) => Promise<Dispatcher.ResponseData> = require("undici/lib/api/api-request.js");

const CONNECTIONS_MAX = 64;
/** A host that vanished without a word is noticed after this and ten probes, one a second. */
const KEEP_ALIVE_IDLE_MS = 10_000;
const REDIRECTS_MAX = 10;

/** A request, before it is known which member gets it. */
export interface Request {
  readonly method: "GET" | "PUT" | "POST" | "DELETE";
  /** Encoded, with the query. */
  readonly path: string;
  readonly body?: string | undefined;
  readonly contentType?: string | undefined;
  /** A connection of its own, and no limit on the wait for the answer. */
  readonly isWatch?: boolean | undefined;
  /** 5xx, too, is an answer to it, and no failure of the member. */
  readonly takesAnyStatus?: boolean | undefined;
}

/** The head of an answer; its body is read with `text`, which ends the request. */
export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly endpoint: string;
  /** @throws ConnectionLostError, or the reason of the signal */
  text(): Promise<string>;
}

/** Carries one request to one member. Knows no other, and never sends anything twice. */
export class Transport {
  readonly #requests: UndiciAgent;
  /** Apart, so that watches never keep requests waiting for a connection. */
  readonly #watches: UndiciAgent;
  readonly #requesting: Dispatcher;
  readonly #watching: Dispatcher;
  readonly #authorization: string | undefined;
  readonly #onRequest: ClientOptions["onRequest"];

  constructor(options: ClientOptions) {
    const common = {
      connect: { ...options.tls, keepAliveInitialDelay: KEEP_ALIVE_IDLE_MS },
      // Limits are the caller's, see below.
      headersTimeout: 0,
      bodyTimeout: 0,
    };
    const connections = options.connectionsMax ?? CONNECTIONS_MAX;
    this.#requests = new Agent({ ...common, connections });
    this.#watches = new Agent(common);
    this.#requesting = this.#requests.compose(noteSent);
    this.#watching = this.#watches.compose(noteSent);
    const { username = "", password = "" } = options;
    this.#authorization =
      username === ""
        ? undefined
        : `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}`;
    this.#onRequest = options.onRequest;
  }

  /**
   * @param endpoint URL of a member, without a slash at its end
   * @param timeoutMs until the head of the answer; 0: no limit
   * @param signal ends it, also while the body is read
   * @throws EndpointError, or the reason of the signal
   */
  async send(
    endpoint: string,
    asked: Request,
    timeoutMs: number,
    signal: AbortSignal,
  ): Promise<Answer> {
    signal.throwIfAborted();
    const attempt = new Attempt(endpoint, signal);
    const limitMs = asked.isWatch ? 0 : timeoutMs;
    const timer = limitMs > 0 ? setTimeout(() => attempt.expire(), limitMs) : undefined;
    try {
      let url = new URL(endpoint + asked.path);
      for (let hops = 0; ; hops++) {
        const answer = await this.#sendTo(url, asked, attempt);
        const { location } = answer.headers;
        const isMoved = answer.status >= 300 && answer.status < 400 && location !== undefined;
        if (!isMoved || hops === REDIRECTS_MAX) return answer;
        await answer.text();
        url = new URL(String(location), url);
      }
    } catch (error) {
      attempt.end();
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  async #sendTo(url: URL, asked: Request, attempt: Attempt): Promise<Answer> {
    const headers: Record<string, string> = {};
    if (asked.contentType !== undefined) headers["content-type"] = asked.contentType;
    this.#onRequest?.(sentRequest(url, asked, headers));
    if (this.#authorization !== undefined) headers.authorization = this.#authorization;
    const agent = asked.isWatch ? this.#watching : this.#requesting;
    const answering = request.call(agent, {
      origin: url.origin,
      path: url.pathname + url.search,
      method: asked.method,
      headers,
      body: asked.body ?? null,
      signal: attempt.signal,
      opaque: attempt,
    });
    const { statusCode, headers: answered, body } = await attempt.settle(answering);
    // Errors reach whoever reads it; nobody may.
    body.on("error", () => undefined);
    return {
      status: statusCode,
      headers: answered,
      endpoint: attempt.endpoint,
      text: async () => {
        try {
          return await attempt.settle(body.text());
        } finally {
          attempt.end();
        }
      },
    };
  }

  /** Ends all connections, also those that are in use. */
  async close(): Promise<void> {
    await Promise.all([this.#requests.destroy(), this.#watches.destroy()]);
  }
}

/** What is known of one request under way. */
class Attempt {
  readonly endpoint: string;
  readonly #abort = new AbortController();
  readonly #caller: AbortSignal;
  readonly #onCaller = () => this.#abort.abort(this.#caller.reason);
  /** Whether it was handed to a connection that stands. */
  isSent = false;

  constructor(endpoint: string, caller: AbortSignal) {
    this.endpoint = endpoint;
    this.#caller = caller;
    caller.addEventListener("abort", this.#onCaller, { once: true });
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  expire(): void {
    this.#abort.abort(new RequestTimeoutError(this.endpoint, this.isSent));
  }

  end(): void {
    this.#caller.removeEventListener("abort", this.#onCaller);
  }

  /**
   * The result, or in its place the reason to give up. undici does not reject a request that still waits for
   * its connection: it leaves it in the queue, and drops it unsent once there is one.
   */
  settle<T>(result: Promise<T>): Promise<T> {
    const { signal } = this;
    return new Promise((resolve, reject) => {
      const giveUp = () => reject(signal.reason);
      if (signal.aborted) giveUp();
      signal.addEventListener("abort", giveUp, { once: true });
      const done = () => signal.removeEventListener("abort", giveUp);
      result.then(
        (value) => {
          done();
          resolve(value);
        },
        (error) => {
          done();
          reject(signal.aborted ? signal.reason : this.#wrap(error));
        },
      );
    });
  }

  #wrap(error: unknown): Error {
    return this.isSent
      ? new ConnectionLostError(this.endpoint, error)
      : new ConnectError(this.endpoint, error);
  }
}

/** Tells the attempt when undici begins to write it to a connection: before that, it is surely not applied. */
function noteSent(dispatch: Dispatcher["dispatch"]): Dispatcher["dispatch"] {
  return (options, handler) => {
    const { opaque } = options as { opaque?: unknown };
    const onConnect = handler.onConnect;
    if (opaque instanceof Attempt && onConnect !== undefined) {
      handler.onConnect = (...args) => {
        opaque.isSent = true;
        onConnect.apply(handler, args);
      };
    }
    return dispatch(options, handler);
  };
}

function sentRequest(url: URL, asked: Request, headers: Record<string, string>): SentRequest {
  return { method: asked.method, url: url.href, headers: { ...headers }, body: asked.body };
}
