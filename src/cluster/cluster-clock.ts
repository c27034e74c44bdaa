/** Upper bound of the drift between two monotonic clocks, including NTP's slew of up to 500 ppm. */
const DRIFT_MAX = 0.0005;

/**
 * One member's copy of the cluster's clock, Unix milliseconds: the last time it heard, continued by
 * its own monotonic clock. Pure: `wallMs` is the member's wall clock, `monoMs` its monotonic one.
 * Invariants:
 *
 *   1. A known clock never goes back as `monoMs` grows, except by `restart`.
 *   2. It is ahead of the members it heard from by at most the drift, as a time is heard only after
 *      it was sent.
 *   3. Once known, it does not depend on the wall clock.
 */
export class ClusterClock {
  /** Cluster time less `monoMs`. */
  #offsetMs: number | undefined;
  #heardMonoMs = 0;
  #floorMs: number;

  /** @param floorMs the latest time in the log; the clock never starts before it */
  constructor(floorMs: number) {
    this.#floorMs = floorMs;
  }

  get isKnown(): boolean {
    return this.#offsetMs !== undefined;
  }

  /** The latest time in the log; 0 for none. */
  get floorMs(): number {
    return this.#floorMs;
  }

  /** Whole milliseconds. While the clock is unknown, the time it would start with. */
  read(wallMs: number, monoMs: number): number {
    if (this.#offsetMs === undefined) return Math.max(wallMs, this.#floorMs);
    return Math.max(Math.floor(this.#offsetMs + monoMs), this.#floorMs);
  }

  /**
   * An applied entry contains a time that may be old: raises the floor without starting the clock.
   */
  mark(clusterMs: number): void {
    if (clusterMs > this.#floorMs) this.#floorMs = clusterMs;
  }

  /**
   * The cluster's time was at least `clusterMs` at `monoMs`. An entry that arrives with less delay
   * than earlier ones moves the clock forward; if all arrive late, our clock is too fast and is
   * slowed down by DRIFT_MAX.
   */
  hear(clusterMs: number, monoMs: number): void {
    const heardMs = clusterMs - monoMs;
    const passedMs = Math.max(0, monoMs - this.#heardMonoMs);
    this.#heardMonoMs = monoMs;
    if (this.#offsetMs === undefined) this.#offsetMs = heardMs;
    else this.#offsetMs = Math.max(heardMs, this.#offsetMs - passedMs * DRIFT_MAX);
    this.mark(clusterMs);
  }

  /** The leader restarted the cluster's clock, as nobody knew the time: replaces ours. */
  restart(clusterMs: number, monoMs: number): void {
    this.#offsetMs = clusterMs - monoMs;
    this.#heardMonoMs = monoMs;
    this.mark(clusterMs);
  }
}
