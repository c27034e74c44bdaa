import { assert } from "../lib/assert.js";
import type { Logger } from "../log/logger.js";

/**
 * A removed member runs on until the others know of the removal: with two members, if only the
 * removed one knew and exited, the other would lack a quorum forever. It exits UNCONFIRMED_MS after
 * it applied its removal, or CONFIRMED_MS after others report it.
 */
const UNCONFIRMED_MS = 30_000;
const CONFIRMED_MS = 1000;
assert(CONFIRMED_MS < UNCONFIRMED_MS, "a removal that the others know of needs no longer wait");

/** Decides when this member exits after its removal from the cluster. */
export class Removal {
  readonly #log: Pick<Logger, "error">;
  #leaveMs = Number.POSITIVE_INFINITY;
  #isApplied = false;

  constructor(log: Pick<Logger, "error">) {
    this.#log = log;
  }

  /** This member applied its own removal. */
  onApplied(monoMs: number): void {
    assert(!this.#isApplied, "a member is removed once, as its id never returns");
    this.#isApplied = true;
    this.#log.error("this member was removed from the cluster; stopping");
    this.#leaveMs = Math.min(this.#leaveMs, monoMs + UNCONFIRMED_MS);
  }

  /** Other members reported the removal; they no longer send their log. */
  onSaid(monoMs: number): void {
    this.#log.error("other members report that this member was removed from the cluster");
    this.#leaveMs = Math.min(this.#leaveMs, monoMs + CONFIRMED_MS);
  }

  /** Removed, and the grace period is over. */
  isOut(monoMs: number): boolean {
    return monoMs >= this.#leaveMs;
  }
}
