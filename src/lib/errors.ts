/** An error caused by a client, a peer, the disk or an operator. Our own mistakes are `assert`s. */
export abstract class RingdError extends Error {
  /** Stable. Programs distinguish errors by this, never by the message. */
  abstract readonly code: string;
}

/** The error's text; of a host with several addresses, that of the first. */
export function messageOf(error: unknown): string {
  const first: unknown = error instanceof AggregateError ? error.errors[0] : error;
  return first instanceof Error ? first.message : String(first);
}

/**
 * The system's error text, such as "no such file or directory", without Node's code before and path
 * after.
 */
export function systemReason(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  if (message.startsWith("EISDIR")) return "is a directory"; // Node's text is less clear.
  return /^E[A-Z0-9]+: (.*?)(, [a-z0-9]+( .*)?)?$/s.exec(message)?.[1] ?? message;
}
