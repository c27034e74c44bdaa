import { assert } from "../lib/assert.js";

/**
 * Appends that a peer has not answered yet: a queue of (last index, bytes), oldest first. Bounded,
 * so that a slow peer cannot make the leader send without end.
 */
export class Inflights {
  readonly #messagesMax: number;
  readonly #bytesMax: number;
  readonly #lastIndexes: number[] = [];
  readonly #sizes: number[] = [];
  #bytes = 0;

  constructor(messagesMax: number, bytesMax: number) {
    assert(messagesMax > 0 && bytesMax > 0, "something may be in flight");
    this.#messagesMax = messagesMax;
    this.#bytesMax = bytesMax;
  }

  get count(): number {
    return this.#lastIndexes.length;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** The byte limit is passed by at most one message: a window always has room for one. */
  isFull(): boolean {
    return this.count >= this.#messagesMax || this.#bytes >= this.#bytesMax;
  }

  add(lastIndex: number, bytes: number): void {
    assert(!this.isFull(), "the window has room");
    this.#lastIndexes.push(lastIndex);
    this.#sizes.push(bytes);
    this.#bytes += bytes;
  }

  /** The peer holds everything up to `index`. */
  freeTo(index: number): void {
    let freed = 0;
    while (freed < this.count && (this.#lastIndexes[freed] as number) <= index) {
      this.#bytes -= this.#sizes[freed] as number;
      freed++;
    }
    if (freed === 0) return;
    this.#lastIndexes.splice(0, freed);
    this.#sizes.splice(0, freed);
  }

  clear(): void {
    this.#lastIndexes.length = 0;
    this.#sizes.length = 0;
    this.#bytes = 0;
  }
}
