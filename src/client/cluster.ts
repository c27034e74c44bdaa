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
import type { CallOptions, ClientOptions } from "./options.js";
import { type Answer, type Request, Transport } from "./transport.js";
import { Vigil } from "./vigil.js";

/** Where a client looks for a member that is told nothing else. */
export const DEFAULT_ENDPOINT = "http://127.0.0.1:2379";
const TIMEOUT_MS = 5000;
const HEALTH_CHECK_MS = 10_000;

/** An answer that was read to its end. */
export interface ReadAnswer {
  readonly status: number;
  readonly headers: Answer["headers"];
  readonly endpoint: string;
  readonly body: string;
}

/**
 * The endpoints and the choice between them, which is that of etcd's v2 client: one is pinned and gets all
 * requests; when it fails, the next ones are tried in order, each once, and the first that does well is pinned.
 *
 * To fail is not to be reached, not to answer in time, or to answer with 5xx. A request that is not repeatable is
 * sent on only if it surely never left; otherwise its outcome is unknown, and the caller is told so.
 */
export class Cluster {
  readonly #transport: Transport;
  readonly #options: ClientOptions;
  readonly #closing = new AbortController();
  readonly #vigil: Vigil;
  #endpoints: readonly string[] = [];
  #pinned = 0;

  constructor(options: ClientOptions) {
    this.#options = options;
    this.endpoints = options.endpoints ?? [DEFAULT_ENDPOINT];
    this.#transport = new Transport(options);
    this.#vigil = new Vigil(
      options.healthCheckMs ?? HEALTH_CHECK_MS,
      (endpoint) => this.#isHealthy(endpoint),
      (endpoint) => this.#endpoints.filter((other) => other !== endpoint),
    );
  }

  /** In the order they are tried, if the first is the pinned one. */
  get endpoints(): readonly string[] {
    return this.#endpoints;
  }

  /** @throws NoEndpointsError if there are none, TypeError for one that is no http or https URL */
  set endpoints(urls: readonly string[]) {
    if (urls.length === 0) throw new NoEndpointsError();
    const endpoints = urls.map(normalize);
    this.#endpoints = this.#options.order === "given" ? endpoints : shuffled(endpoints);
    this.#pinned = 0;
  }

  /** Takes other endpoints; keeps the pinned one where it is if they are the same in another order. */
  replace(urls: readonly string[]): void {
    const endpoints = urls.map(normalize);
    const isSame = [...endpoints].sort().join() === [...this.#endpoints].sort().join();
    if (!isSame) this.endpoints = endpoints;
  }

  /** The one that is asked first. */
  get pinned(): string {
    return this.#endpoints[this.#pinned] as string;
  }

  /**
   * Has any member answer, and reads the answer.
   *
   * @throws UnavailableError, MaybeAppliedError, TimeoutError, or the reason of the signal
   */
  async ask(request: Request, call: CallOptions = {}, isRepeatable = true): Promise<ReadAnswer> {
    const totalMs = call.totalTimeoutMs ?? this.#options.totalTimeoutMs ?? 0;
    const timeoutMs = call.timeoutMs ?? this.#options.timeoutMs ?? TIMEOUT_MS;
    const limit = new Limit([call.signal, this.#closing.signal], totalMs);
    try {
      return await this.#untilOneDoes(call.endpoint, isRepeatable, async (endpoint) => {
        const answer = await this.#transport.send(endpoint, request, timeoutMs, limit.signal);
        if (answer.status >= 500 && !request.takesAnyStatus) throw await memberError(answer);
        const { status, headers } = answer;
        return { status, headers, endpoint, body: await answer.text() };
      });
    } finally {
      limit.end();
    }
  }

  /**
   * Has any member take up a wait. It goes on in the answer's body, under the eye of the vigil.
   *
   * @throws UnavailableError, or the reason of the signal
   */
  async wait(request: Request, only: string | undefined, signal: AbortSignal): Promise<Answer> {
    return this.#untilOneDoes(only, true, async (endpoint) => {
      const limit = new Limit([signal]);
      const endVigil = this.#vigil.over(endpoint, (error, other) => {
        if (only === undefined) this.#pin(other);
        limit.abort(error);
      });
      const end = () => {
        endVigil();
        limit.end();
      };
      try {
        const answer = await this.#transport.send(endpoint, request, 0, limit.signal);
        if (answer.status >= 500) throw await memberError(answer);
        return { ...answer, text: () => answer.text().finally(end) };
      } catch (error) {
        end();
        throw error;
      }
    });
  }

  /** @param only asks this one, and leaves the pin where it is; undefined: the pinned one, then the others */
  async #untilOneDoes<T>(
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

  /** Of the pinned member, unless the call names one. @throws UnavailableError if it is not reached */
  async isHealthy(call: CallOptions): Promise<boolean> {
    const endpoint = call.endpoint ?? this.pinned;
    const request: Request = { method: "GET", path: "/health", takesAnyStatus: true };
    const { health } = parseJson(await this.ask(request, { ...call, endpoint })) as Health;
    return health === true || health === "true";
  }

  /** Ends everything under way, watches too. */
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

  /** No-op for one that is not, or no longer, in the list. */
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

/** One signal from several, and from a limit on the time. It must be ended, so that no listener stays. */
export class Limit {
  readonly #abort = new AbortController();
  readonly #undo: (() => void)[] = [];

  /** @param totalMs 0: no limit */
  constructor(signals: readonly (AbortSignal | undefined)[], totalMs = 0) {
    for (const signal of signals) {
      if (signal === undefined) continue;
      // One signal may end any number of calls and watches; Node would warn of a leak from the eleventh on.
      setMaxListeners(0, signal);
      const pass = () => this.#abort.abort(signal.reason);
      if (signal.aborted) pass();
      signal.addEventListener("abort", pass, { once: true });
      this.#undo.push(() => signal.removeEventListener("abort", pass));
    }
    if (totalMs <= 0 || totalMs === Number.POSITIVE_INFINITY) return;
    const timer = setTimeout(() => this.#abort.abort(new TimeoutError(totalMs)), totalMs);
    this.#undo.push(() => clearTimeout(timer));
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  abort(reason: Error): void {
    this.#abort.abort(reason);
  }

  end(): void {
    for (const undo of this.#undo.splice(0)) undo();
  }
}

/** @throws InvalidAnswerError */
export function parseJson(answer: ReadAnswer): unknown {
  const { body, endpoint, status } = answer;
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

/** A string, a boolean from some servers. */
interface Health {
  readonly health?: unknown;
}

async function memberError(answer: Answer): Promise<MemberError> {
  const { STATUS_CODES } = await import("node:http");
  const text = STATUS_CODES[answer.status] ?? "";
  return new MemberError(answer.endpoint, answer.status, text, await answer.text());
}

function normalize(url: string): string {
  const { protocol, origin, pathname } = new URL(url);
  if (protocol !== "http:" && protocol !== "https:") {
    throw new TypeError(`Endpoint ${url} is neither http nor https`);
  }
  return origin + (pathname.endsWith("/") ? pathname.slice(0, -1) : pathname);
}

/** Fisher and Yates. */
function shuffled<T>(items: readonly T[]): T[] {
  const copy = [...items];
  for (let n = copy.length - 1; n > 0; n--) {
    const other = Math.floor(Math.random() * (n + 1));
    [copy[n], copy[other]] = [copy[other] as T, copy[n] as T];
  }
  return copy;
}
