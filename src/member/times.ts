/** The clocks as they stood when this turn of the core began. */
export interface TurnTimes {
  /** This machine's wall clock, Unix milliseconds: what operators read. */
  readonly wallMs: number;
  /** A clock that never jumps, for timeouts. */
  readonly monoMs: number;
  /** The cluster's clock, Unix milliseconds: what TTLs count from. */
  readonly clusterMs: number;
}
