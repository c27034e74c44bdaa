/** What is counted for one other member. */
export interface LinkMetrics {
  add(name: PeerFigure, n: number): void;
  /** Of a gauge. */
  set(name: PeerFigure, value: number): void;
  /** Seconds, of a histogram. */
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

/** The figures of all of them; the owner shows them. */
export interface LinkFigures {
  /** From now on this member has figures. */
  take(id: bigint): LinkMetrics;
  /** Of a member that has none, what is counted is not shown. */
  of(id: bigint): LinkMetrics;
  release(id: bigint): void;
}
