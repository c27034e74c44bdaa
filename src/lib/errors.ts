/** What the world (client, peer, disk, operator) did wrong. Our own mistakes are `assert`s. */
export abstract class RingdError extends Error {
  /** Stable. Programs tell errors apart by this, never by the message. */
  abstract readonly code: string;
}
