/** The clocks, read once at the beginning of each turn of the core. */
export interface TurnTimes {
  /** This machine's wall clock, Unix milliseconds; for texts that operators read. */
  readonly wallMs: number;
  /** Monotonic milliseconds, for timeouts. */
  readonly monoMs: number;
  /** The cluster's clock, Unix milliseconds; TTLs count from it. */
  readonly clusterMs: number;
}
