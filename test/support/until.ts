import { setTimeout as sleep } from "node:timers/promises";

const POLL_MS = 20;

/**
 * Looks again and again: for what there is no event of.
 *
 * @param what it waits for, or how far that is, for the error
 * @throws Error if it is not so in time, and whatever `isSo` throws
 */
export async function until(
  what: string | (() => string),
  timeoutMs: number,
  isSo: () => boolean | Promise<boolean>,
  pollMs: number = POLL_MS,
): Promise<void> {
  const deadlineMs = performance.now() + timeoutMs;
  while (!(await isSo())) {
    if (performance.now() > deadlineMs) {
      const text = typeof what === "string" ? what : what();
      throw new Error(`Not within ${timeoutMs} ms: ${text}`);
    }
    await sleep(pollMs);
  }
}
