import { setTimeout as sleep } from "node:timers/promises";

const POLL_MS = 20;

/**
 * Polls a condition that has no event.
 *
 * @param what awaited condition or its progress, for the error
 * @throws Error on timeout, and errors of `isSo`
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
