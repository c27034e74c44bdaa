import { setMaxListeners } from "node:events";
import {
  ClientError,
  EndpointError,
  InvalidAnswerError,
  MaybeAppliedError,
  MemberError,
  NoEndpointsError,
  TimeoutError,
  UnavailableError,
} from "./errors.js";
import { HealthMonitor } from "./health-monitor.js";
import type { CallOptions, ClientOptions } from "./options.js";
import { type MemberRequest, type MemberResponse, Transport } from "./transport.js";

/** The endpoint of a client that is given none. */
export const DEFAULT_ENDPOINT = "http://127.0.0.1:2379";
const TIMEOUT_MS = 5000;
const HEALTH_CHECK_MS = 10_000;

/** A complete response. */
export interface ReadAnswer {
  readonly status: number;
  readonly headers: MemberResponse["headers"];
  readonly endpoint: string;
  readonly body: string;
}

/**
 * The endpoints and the choice between them, by the rules of etcd's v2 client: one is pinned and
 * gets all requests; when it fails, the next ones are tried in order, each once, and the first that
 * succeeds is pinned.
 *
 * An endpoint fails if it cannot be reached, does not respond in time, or responds with 5xx. A
 * request that is not repeatable goes to the next endpoint only if it was not sent; otherwise its
 * outcome is unknown, and MaybeAppliedError says so.
 */
export class Cluster {
  readonly #transport: Transport;
  readonly #options: ClientOptions;
  readonly #closing = new AbortController();
  readonly #monitor: HealthMonitor;
  #endpoints: readonly string[] = [];
  #pinned = 0;

  constructor(options: ClientOptions) {
    this.#options = options;
    this.endpoints = options.endpoints ?? [DEFAULT_ENDPOINT];
    manyListeners(this.#closing.signal);
    this.#transport = new Transport(options);
    this.#monitor = new HealthMonitor(
      options.healthCheckMs ?? HEALTH_CHECK_MS,
      (endpoint) => this.#isHealthy(endpoint),
      (endpoint) => this.#endpoints.filter((other) => other !== endpoint),
    );
  }

  /** In the order they are tried, starting from the pinned one. */
  get endpoints(): readonly string[] {
    return this.#endpoints;
  }

  /** @throws NoEndpointsError if there are none, TypeError unless all are http or https URLs */
  set endpoints(urls: readonly string[]) {
    if (urls.length === 0) throw new NoEndpointsError();
    const endpoints = urls.map(normalize);
    this.#endpoints = this.#options.order === "given" ? endpoints : shuffled(endpoints);
    this.#pinned = 0;
  }

  /** Replaces the endpoints; the same ones in another order keep their order and the pinned one. */
  replace(urls: readonly string[]): void {
    const endpoints = urls.map(normalize);
    const isSame = [...endpoints].sort().join() === [...this.#endpoints].sort().join();
    if (!isSame) this.endpoints = endpoints;
  }

  /** The endpoint that is tried first. */
  get pinned(): string {
    return this.#endpoints[this.#pinned] as string;
  }

  /**
   * Sends a request to any member and reads the response.
   *
   * @throws UnavailableError, MaybeAppliedError, TimeoutError, or the reason of the signal
   */
  async request(
    request: MemberRequest,
    call: CallOptions = {},
    isRepeatable = true,
  ): Promise<ReadAnswer> {
    const totalMs = call.totalTimeoutMs ?? this.#options.totalTimeoutMs ?? 0;
    const givenMs = call.timeoutMs ?? this.#options.timeoutMs ?? TIMEOUT_MS;
    const timeoutMs = request.isWatch ? 0 : givenMs;
    const signals = [this.#closing.signal];
    if (call.signal !== undefined) signals.push(manyListeners(call.signal));
    let timer: NodeJS.Timeout | undefined;
    if (totalMs > 0 && totalMs !== Number.POSITIVE_INFINITY) {
      const timeout = new AbortController();
      timer = setTimeout(() => timeout.abort(new TimeoutError(totalMs)), totalMs);
      signals.push(timeout.signal);
    }
    try {
      return await this.#tryEach(call.endpoint, isRepeatable, async (endpoint) => {
        const response = await this.#transport.send(endpoint, request, timeoutMs, signals);
        if (response.status >= 500 && !request.takesAnyStatus) throw await memberError(response);
        const { status, headers } = response;
        return { status, headers, endpoint, body: await response.text() };
      });
    } finally {
      clearTimeout(timer);
    }
  }

  /**
   * Starts a long poll on any member; the health monitor watches that member until the body is
   * read.
   *
   * @param signals each ends the poll, also while the body is read
   * @throws UnavailableError, or a signal's reason
   */
  async poll(
    request: MemberRequest,
    only: string | undefined,
    signals: readonly AbortSignal[],
  ): Promise<MemberResponse> {
    return this.#tryEach(only, true, async (endpoint) => {
      const unhealthy = new AbortController();
      const endMonitoring = this.#monitor.monitor(endpoint, (error, other) => {
        if (only === undefined) this.#pin(other);
        unhealthy.abort(error);
      });
      try {
        const response = await this.#transport.send(endpoint, request, 0, [
          ...signals,
          this.#closing.signal,
          unhealthy.signal,
        ]);
        if (response.status >= 500) throw await memberError(response);
        return {
          ...response,
          text: () => response.text().finally(endMonitoring),
          pieces: () => withEnd(response.pieces(), endMonitoring),
          bytes: (silenceMs) => withEnd(response.bytes(silenceMs), endMonitoring),
        };
      } catch (error) {
        endMonitoring();
        throw error;
      }
    });
  }

  /**
   * Starts a download from any member, whose body may take as long as it needs.
   *
   * @param timeoutMs until the response's headers
   * @throws UnavailableError
   */
  async download(request: MemberRequest, timeoutMs: number): Promise<MemberResponse> {
    return this.#tryEach(undefined, true, async (endpoint) => {
      const signals = [this.#closing.signal];
      const response = await this.#transport.send(endpoint, request, timeoutMs, signals);
      if (response.status >= 500) throw await memberError(response);
      return response;
    });
  }

  /** @param only try this one and pin nothing; undefined: the pinned one, then the others */
  async #tryEach<T>(
    only: string | undefined,
    isRepeatable: boolean,
    act: (endpoint: string) => Promise<T>,
  ): Promise<T> {
    const errors: EndpointError[] = [];
    for (const endpoint of only === undefined ? this.#order() : [normalize(only)]) {
      try {
        const result = await act(endpoint);
        if (only === undefined) this.#pin(endpoint);
        return result;
      } catch (error) {
        if (!(error instanceof EndpointError)) throw error;
        errors.push(error);
        this.#options.onFailure?.(error, endpoint);
        if (!isRepeatable && error.isSent) {
          if (only === undefined) this.#pin(this.#after(endpoint));
          throw new MaybeAppliedError(error);
        }
      }
    }
    throw new UnavailableError(errors);
  }

  /**
   * Of the pinned member, unless the call names one.
   *
   * @throws UnavailableError if it cannot be reached
   */
  async isHealthy(call: CallOptions): Promise<boolean> {
    const endpoint = call.endpoint ?? this.pinned;
    const request: MemberRequest = { method: "GET", path: "/health", takesAnyStatus: true };
    const { health } = parseBody(await this.request(request, { ...call, endpoint })) as Health;
    return health === true || health === "true";
  }

  /** Ends everything in flight, watches too. */
  async close(): Promise<void> {
    this.#closing.abort(new DOMException("The client was closed", "AbortError"));
    await this.#transport.close();
  }

  get closing(): AbortSignal {
    return this.#closing.signal;
  }

  #order(): string[] {
    return [...this.#endpoints.slice(this.#pinned), ...this.#endpoints.slice(0, this.#pinned)];
  }

  /** No-op for an endpoint that has left the list. */
  #pin(endpoint: string): void {
    const at = this.#endpoints.indexOf(endpoint);
    if (at >= 0) this.#pinned = at;
  }

  #after(endpoint: string): string {
    const at = this.#endpoints.indexOf(endpoint);
    return this.#endpoints[(at + 1) % this.#endpoints.length] as string;
  }

  async #isHealthy(endpoint: string): Promise<boolean> {
    const call = { endpoint, totalTimeoutMs: this.#options.timeoutMs ?? TIMEOUT_MS };
    try {
      return await this.isHealthy(call);
    } catch (error) {
      if (error instanceof ClientError || this.#closing.signal.aborted) return false;
      throw error;
    }
  }
}

async function* withEnd<T>(
  pieces: AsyncGenerator<T, void, undefined>,
  end: () => void,
): AsyncGenerator<T, void, undefined> {
  try {
    yield* pieces;
  } finally {
    end();
  }
}

/** @throws InvalidAnswerError */
export function parseBody(response: ReadAnswer): unknown {
  const { body, endpoint, status } = response;
  try {
    return JSON.parse(body);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    const why =
      body === ""
        ? "response body is empty"
        : "response is invalid json. The endpoint is probably not valid etcd cluster endpoint";
    throw new InvalidAnswerError(endpoint, status, why);
  }
}

/** etcd sends a string, some other servers a boolean. */
interface Health {
  readonly health?: unknown;
}

async function memberError(response: MemberResponse): Promise<MemberError> {
  const { STATUS_CODES } = await import("node:http");
  const statusText = STATUS_CODES[response.status] ?? "";
  return new MemberError(response.endpoint, response.status, statusText, await response.text());
}

function normalize(url: string): string {
  const { protocol, origin, pathname } = new URL(url);
  if (protocol !== "http:" && protocol !== "https:") {
    throw new TypeError(`Endpoint ${url} is neither http nor https`);
  }
  return origin + (pathname.endsWith("/") ? pathname.slice(0, -1) : pathname);
}

/**
 * For a signal that may end many calls: Node.js would warn of a leak from the eleventh listener on.
 */
export function manyListeners(signal: AbortSignal): AbortSignal {
  setMaxListeners(0, signal);
  return signal;
}

/** By Fisher and Yates: every order is equally likely. */
function shuffled<T>(items: readonly T[]): T[] {
  const copy = [...items];
  for (let n = copy.length - 1; n > 0; n--) {
    const other = Math.floor(Math.random() * (n + 1));
    [copy[n], copy[other]] = [copy[other] as T, copy[n] as T];
  }
  return copy;
}
