import { assert } from "../lib/assert.js";

/**
 * Unacknowledged appends to a peer: a queue of (last index, bytes), oldest first. Bounded, so that
 * a slow peer throttles the leader.
 */
export class Inflights {
  readonly #messagesMax: number;
  readonly #bytesMax: number;
  readonly #lastIndexes: number[] = [];
  readonly #sizes: number[] = [];
  #bytes = 0;

  constructor(messagesMax: number, bytesMax: number) {
    assert(messagesMax > 0 && bytesMax > 0, "the window has room for a message");
    this.#messagesMax = messagesMax;
    this.#bytesMax = bytesMax;
  }

  get count(): number {
    return this.#lastIndexes.length;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /**
   * The byte limit is exceeded by at most one message, so that an empty window takes any message.
   */
  isFull(): boolean {
    return this.count >= this.#messagesMax || this.#bytes >= this.#bytesMax;
  }

  add(lastIndex: number, bytes: number): void {
    assert(!this.isFull(), "the window has room");
    assert(bytes >= 0, "a size is not negative");
    assert(lastIndex > (this.#lastIndexes.at(-1) ?? 0), "appends in flight ascend");
    this.#lastIndexes.push(lastIndex);
    this.#sizes.push(bytes);
    this.#bytes += bytes;
  }

  /** The peer acknowledged everything up to `index`. */
  freeTo(index: number): void {
    let freed = 0;
    while (freed < this.count && (this.#lastIndexes[freed] as number) <= index) {
      this.#bytes -= this.#sizes[freed] as number;
      freed++;
    }
    if (freed === 0) return;
    this.#lastIndexes.splice(0, freed);
    this.#sizes.splice(0, freed);
    this.assertInvariants();
  }

  clear(): void {
    this.#lastIndexes.length = 0;
    this.#sizes.length = 0;
    this.#bytes = 0;
  }

  assertInvariants(): void {
    assert(this.count === this.#sizes.length, "each append in flight has a size");
    assert(this.count <= this.#messagesMax, "the window is bounded");
    assert(this.#bytes >= 0, "bytes are acknowledged once");
    assert(this.count > 0 || this.#bytes === 0, "an empty window holds no bytes");
  }
}
