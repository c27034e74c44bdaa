import type { Logger } from "../log/logger.js";

/** A member's client URL. */
export interface ProxyEndpoint {
  readonly url: string;
  /** On the monotonic clock. */
  readonly unavailableUntilMs: number;
}

interface State {
  readonly url: string;
  unavailableUntilMs: number;
}

/**
 * The endpoints that requests may go to. One that failed is left alone for a while; an order drawn
 * at each refresh spreads proxies over the members (etcd proxy/httpproxy/director.go).
 */
export class Endpoints {
  readonly #failureWaitMs: number;
  readonly #log: Pick<Logger, "info" | "warn">;
  readonly #monoMs: () => number;
  #all: State[] = [];
  #wasFound = false;

  constructor(
    failureWaitMs: number,
    log: Pick<Logger, "info" | "warn">,
    monoMs: () => number = () => performance.now(),
  ) {
    this.#failureWaitMs = failureWaitMs;
    this.#log = log;
    this.#monoMs = monoMs;
  }

  /** Takes a new list of URLs. One that it had before stays unavailable as long as it was. */
  replace(urls: readonly string[]): void {
    const before = new Map(this.#all.map((endpoint) => [endpoint.url, endpoint]));
    this.#all = shuffled(urls).map((url) => before.get(url) ?? { url, unavailableUntilMs: 0 });
    if (this.#wasFound || urls.length === 0) return;
    this.#wasFound = true;
    const found = this.#all.map(({ url }) => JSON.stringify(url)).join(" ");
    this.#log.info(`httpproxy: endpoints found [${found}]`);
  }

  /** In the order in which to try them. */
  available(): readonly ProxyEndpoint[] {
    const nowMs = this.#monoMs();
    return this.#all.filter(({ unavailableUntilMs }) => unavailableUntilMs <= nowMs);
  }

  failed({ url }: ProxyEndpoint, why: string): void {
    const nowMs = this.#monoMs();
    const endpoint = this.#all.find((one) => one.url === url);
    if (endpoint === undefined || endpoint.unavailableUntilMs > nowMs) return;
    endpoint.unavailableUntilMs = nowMs + this.#failureWaitMs;
    this.#log.warn({ endpoint: url, reason: why }, "marked endpoint unavailable");
  }
}

function shuffled(urls: readonly string[]): string[] {
  const order = [...urls];
  for (let i = order.length - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1));
    [order[i], order[j]] = [order[j] as string, order[i] as string];
  }
  return order;
}
