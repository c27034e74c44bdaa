/**
 * A removed member goes on until the others say that they know: if only it knew, and ended, the last of
 * two could not go on alone. For so long it waits for their word, and for so long after it.
 */
const UNSAID_MS = 30_000;
const SAID_MS = 1000;

/** When this member, removed from its cluster, ends. */
export class Removal {
  #leaveMs = Number.POSITIVE_INFINITY;

  /** This member's own log says that it is removed. */
  onApplied(monoMs: number): void {
    this.#leaveMs = Math.min(this.#leaveMs, monoMs + UNSAID_MS);
  }

  /** The other members say so. */
  onSaid(monoMs: number): void {
    this.#leaveMs = Math.min(this.#leaveMs, monoMs + SAID_MS);
  }

  isOut(monoMs: number): boolean {
    return monoMs >= this.#leaveMs;
  }
}
