import { assert } from "../lib/assert.js";

/** Leader: the numbers of a follower's proposals accepted in this term, to drop duplicates. */
export class Forwarded {
  #life = 0;
  /** Earlier incarnations of the follower; their messages are late and ignored. */
  readonly #pastLives = new Set<number>();
  /** In the order accepted, which is nearly ascending. */
  readonly #numbers = new Set<number>();
  #oldest = 0;

  /**
   * Call before a message's proposals. Numbers of this incarnation below `oldest` are never sent
   * again, and count as accepted.
   *
   * @returns false if the message is from an earlier incarnation of the follower
   */
  begin(life: number, oldest: number): boolean {
    if (this.#pastLives.has(life)) return false;
    if (life !== this.#life) {
      this.#pastLives.add(this.#life);
      this.#life = life;
      this.#numbers.clear();
      this.#oldest = 0;
    }
    assert(!this.#pastLives.has(this.#life), "a past incarnation does not come back");
    this.#oldest = Math.max(this.#oldest, oldest);
    for (const number of this.#numbers) {
      if (number >= oldest) break;
      this.#numbers.delete(number);
    }
    return true;
  }

  add(number: number): void {
    assert(!this.has(number), "a proposal is taken once");
    this.#numbers.add(number);
  }

  has(number: number): boolean {
    return number < this.#oldest || this.#numbers.has(number);
  }
}
