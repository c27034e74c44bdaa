/** Metrics of the link to one peer. */
export interface LinkMetrics {
  add(name: PeerFigure, n: number): void;
  /** Sets a gauge. */
  set(name: PeerFigure, value: number): void;
  /** Counts seconds into a histogram. */
  observe(name: PeerFigure, value: number): void;
}

export type PeerFigure =
  | "activePeers"
  | "knownPeers"
  | "disconnectedPeers"
  | "sentBytes"
  | "receivedBytes"
  | "sentFailures"
  | "receivedFailures"
  | "roundTrip"
  | "snapshotsSent"
  | "snapshotSendFailures"
  | "snapshotsSending"
  | "snapshotSendDuration"
  | "snapshotsReceived"
  | "snapshotReceiveFailures"
  | "snapshotsReceiving"
  | "snapshotReceiveDuration";

/** Metrics of all links; the owner exposes them. */
export interface LinkFigures {
  /** Assigns metrics to a peer. */
  take(id: bigint): LinkMetrics;
  /** A peer's metrics; counts of one without are not exposed. */
  of(id: bigint): LinkMetrics;
  release(id: bigint): void;
}
