/** More than two monotonic clocks drift apart, with room for what NTP may slew one by (500 ppm). */
const DRIFT_MAX = 0.0005;

/**
 * The cluster's time as one member has it, Unix milliseconds: what it last heard, continued by its
 * own monotonic clock. Pure: `wallMs` is the member's wall clock, `monoMs` its monotonic one.
 * Invariants:
 *
 *   1. Read at later and later `monoMs`, a known clock never goes back, but for `restart`.
 *   2. It is never ahead of who told it, by more than drift: what is heard was true when it was
 *      said.
 *   3. Once it is known the wall clock has no part in it.
 */
export class ClusterClock {
  /** Cluster time less `monoMs`. */
  #offsetMs: number | undefined;
  #heardMonoMs = 0;
  #floorMs: number;

  /** @param floorMs the latest time that the log tells: no clock starts before it */
  constructor(floorMs: number) {
    this.#floorMs = floorMs;
  }

  get isKnown(): boolean {
    return this.#offsetMs !== undefined;
  }

  /** The latest time that the log tells; 0: none. */
  get floorMs(): number {
    return this.#floorMs;
  }

  /** Whole milliseconds. As long as the clock is not known, what it would start with. */
  read(wallMs: number, monoMs: number): number {
    if (this.#offsetMs === undefined) return Math.max(wallMs, this.#floorMs);
    return Math.max(Math.floor(this.#offsetMs + monoMs), this.#floorMs);
  }

  /** An applied entry tells a time, perhaps an old one: it is remembered, and starts nothing. */
  mark(clusterMs: number): void {
    if (clusterMs > this.#floorMs) this.#floorMs = clusterMs;
  }

  /**
   * The time was this or a little later when an entry was heard. One that was heard with less delay
   * than those before it moves the clock on; if all come late, our own clock is too fast: it gives
   * way slowly.
   */
  hear(clusterMs: number, monoMs: number): void {
    const heardMs = clusterMs - monoMs;
    const passedMs = Math.max(0, monoMs - this.#heardMonoMs);
    this.#heardMonoMs = monoMs;
    if (this.#offsetMs === undefined) this.#offsetMs = heardMs;
    else this.#offsetMs = Math.max(heardMs, this.#offsetMs - passedMs * DRIFT_MAX);
    this.mark(clusterMs);
  }

  /**
   * The cluster's time was lost with those who knew it, and was started anew: ours counts no more.
   */
  restart(clusterMs: number, monoMs: number): void {
    this.#offsetMs = clusterMs - monoMs;
    this.#heardMonoMs = monoMs;
    this.mark(clusterMs);
  }
}
