import type { Logger } from "../log/logger.js";

/**
 * A removed member goes on until the others say that they know: if only it knew, and ended, the
 * last of two could not go on alone. For so long it waits for their word, and for so long after it.
 */
const UNSAID_MS = 30_000;
const SAID_MS = 1000;

/** When this member, removed from its cluster, ends. */
export class Removal {
  readonly #log: Pick<Logger, "error">;
  #leaveMs = Number.POSITIVE_INFINITY;

  constructor(log: Pick<Logger, "error">) {
    this.#log = log;
  }

  /** This member's own log says that it is removed. */
  onApplied(monoMs: number): void {
    this.#log.error("this member was removed from the cluster; stopping");
    this.#leaveMs = Math.min(this.#leaveMs, monoMs + UNSAID_MS);
  }

  /** The other members say so; the log cannot, as they no longer send it. */
  onSaid(monoMs: number): void {
    this.#log.error("other members report that this member was removed from the cluster");
    this.#leaveMs = Math.min(this.#leaveMs, monoMs + SAID_MS);
  }

  /** Was removed, and its grace period is over. */
  isOut(monoMs: number): boolean {
    return monoMs >= this.#leaveMs;
  }
}
