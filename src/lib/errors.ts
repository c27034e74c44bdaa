/** What the world (client, peer, disk, operator) did wrong. Our own mistakes are `assert`s. */
export abstract class RingdError extends Error {
  /** Stable. Programs tell errors apart by this, never by the message. */
  abstract readonly code: string;
}

/**
 * What the system says about a call: "no such file or directory", without Node's code before and
 * path after.
 */
export function systemReason(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  if (message.startsWith("EISDIR")) return "is a directory"; // Node's own words say less.
  return /^E[A-Z0-9]+: (.*?)(, [a-z0-9]+( .*)?)?$/s.exec(message)?.[1] ?? message;
}
