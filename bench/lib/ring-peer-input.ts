/** Input of the ring benchmark's second thread: its ends of two rings and two bells. */
export interface RingPeerInput {
  readonly there: SharedArrayBuffer;
  readonly back: SharedArrayBuffer;
  readonly ownBell: SharedArrayBuffer;
  readonly otherBell: SharedArrayBuffer;
}

export const PeerMessage = {
  /** Only read. */
  drop: 1,
  /** Sent back unchanged. */
  echo: 2,
  /** The thread ends. */
  end: 3,
} as const;
