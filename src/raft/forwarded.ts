/** Which of a follower's proposals its leader has taken in this term, among those that may come again. */
export class Forwarded {
  /** In the order they were taken, which is nearly that of the numbers. */
  readonly #numbers = new Set<number>();
  #oldest = 0;

  add(number: number): void {
    this.#numbers.add(number);
  }

  /** Lower numbers are not sent again. Should one come all the same, late, it counts as taken. */
  forgetBelow(oldest: number): void {
    this.#oldest = Math.max(this.#oldest, oldest);
    for (const number of this.#numbers) {
      if (number >= oldest) return;
      this.#numbers.delete(number);
    }
  }

  has(number: number): boolean {
    return number < this.#oldest || this.#numbers.has(number);
  }
}
