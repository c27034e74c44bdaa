/** One of our own invariants is broken. Crashes the thread and with it the process. */
export class AssertionError extends Error {
  override readonly name = "AssertionError";
}

/**
 * Enabled in production: a wrong state must stop the member before it reaches the disk or a client.
 *
 * @param message the invariant as a statement: "record offset is a multiple of 8"
 * @throws AssertionError
 */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new AssertionError(`Broken invariant: ${message}`);
}

/** Ends a `switch` over a union: an unhandled variant becomes a compile error. */
export function unreachable(value: never): never {
  throw new AssertionError(`Broken invariant: no such case: ${String(value)}`);
}
