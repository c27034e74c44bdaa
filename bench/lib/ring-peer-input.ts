/**
 * What the second thread of the ring benchmark is given: its ends of two rings and of two bells.
 */
export interface RingPeerInput {
  readonly there: SharedArrayBuffer;
  readonly back: SharedArrayBuffer;
  readonly ownBell: SharedArrayBuffer;
  readonly otherBell: SharedArrayBuffer;
}

export const PeerMessage = {
  /** Read, and nothing else. */
  drop: 1,
  /** Sent back as it is. */
  echo: 2,
  /** The thread ends. */
  end: 3,
} as const;
