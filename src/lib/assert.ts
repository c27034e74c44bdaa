/** A broken invariant of ours. The thread that throws it dies, and the process with it. */
export class AssertionError extends Error {
  override readonly name = "AssertionError";
}

/**
 * Kept on in production: a wrong state must stop the member before it reaches the disk or a client.
 *
 * @param message what holds, as a statement: "record offset is a multiple of 8"
 * @throws AssertionError
 */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new AssertionError(`Broken invariant: ${message}`);
}

/** Ends a `switch` over a union: a new member that is not handled becomes a compile error. */
export function unreachable(value: never): never {
  throw new AssertionError(`Broken invariant: no such case: ${String(value)}`);
}
