import { type EndpointError, UnhealthyError } from "./errors.js";

/** Whether a member responds and has a quorum. Never rejects. */
export type IsHealthy = (endpoint: string) => Promise<boolean>;

/** @param other a healthy endpoint to use instead */
export type OnUnhealthy = (error: EndpointError, other: string) => void;

/**
 * Checks the health of members with open long polls. A member that hangs or is partitioned keeps
 * its connections open and sends nothing, just like a watch without events. A watch leaves an
 * unhealthy member as soon as another one is healthy; while none is, it stays.
 */
export class HealthMonitor {
  readonly #intervalMs: number;
  readonly #isHealthy: IsHealthy;
  readonly #others: (endpoint: string) => readonly string[];
  readonly #monitored = new Map<string, Monitored>();

  /**
   * @param intervalMs 0: never
   * @param others the other endpoints
   */
  constructor(
    intervalMs: number,
    isHealthy: IsHealthy,
    others: (endpoint: string) => readonly string[],
  ) {
    this.#intervalMs = intervalMs;
    this.#isHealthy = isHealthy;
    this.#others = others;
  }

  /** @param onUnhealthy called at most once @returns ends the monitoring */
  monitor(endpoint: string, onUnhealthy: OnUnhealthy): () => void {
    if (this.#intervalMs <= 0) return () => undefined;
    let monitored = this.#monitored.get(endpoint);
    if (monitored === undefined) {
      const timer = setInterval(() => void this.#check(endpoint), this.#intervalMs);
      monitored = { timer, isChecking: false, polls: new Set() };
      this.#monitored.set(endpoint, monitored);
    }
    const { polls, timer } = monitored;
    // A new object each time, because a function may be registered twice.
    const poll = { onUnhealthy };
    polls.add(poll);
    return () => {
      if (!polls.delete(poll) || polls.size > 0) return;
      clearInterval(timer);
      this.#monitored.delete(endpoint);
    };
  }

  async #check(endpoint: string): Promise<void> {
    const monitored = this.#monitored.get(endpoint);
    if (monitored === undefined || monitored.isChecking) return;
    monitored.isChecking = true;
    try {
      if (await this.#isHealthy(endpoint)) return;
      for (const other of this.#others(endpoint)) {
        if (!(await this.#isHealthy(other))) continue;
        for (const { onUnhealthy } of monitored.polls) {
          onUnhealthy(new UnhealthyError(endpoint), other);
        }
        return;
      }
    } finally {
      monitored.isChecking = false;
    }
  }
}

/** One endpoint and all long polls on it. */
interface Monitored {
  readonly timer: NodeJS.Timeout;
  readonly polls: Set<{ readonly onUnhealthy: OnUnhealthy }>;
  isChecking: boolean;
}
