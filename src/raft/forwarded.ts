import { assert } from "../lib/assert.js";

/**
 * Which of a follower's proposals its leader has taken in this term, among those that may come
 * again.
 */
export class Forwarded {
  #life = 0;
  /** What comes of them comes late. */
  readonly #pastLives = new Set<number>();
  /** In the order they were taken, which is nearly that of the numbers. */
  readonly #numbers = new Set<number>();
  #oldest = 0;

  /**
   * Before a message is looked at: lower numbers of this life are not sent again, and count as
   * taken.
   *
   * @returns false if the follower has been started again since
   */
  begin(life: number, oldest: number): boolean {
    if (this.#pastLives.has(life)) return false;
    if (life !== this.#life) {
      this.#pastLives.add(this.#life);
      this.#life = life;
      this.#numbers.clear();
      this.#oldest = 0;
    }
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
