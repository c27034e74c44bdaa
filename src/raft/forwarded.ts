/** Which of a follower's proposals its leader has taken in this term, among those that may come again. */
export class Forwarded {
  /** In the order they were taken, which is nearly that of the numbers. */
  readonly #numbers = new Set<number>();

  add(number: number): void {
    this.#numbers.add(number);
  }

  /** @param oldest numbers below it are forgotten, and count as seen */
  unseen<T extends { readonly number: number }>(oldest: number, proposals: readonly T[]): T[] {
    for (const number of this.#numbers) {
      if (number >= oldest) break;
      this.#numbers.delete(number);
    }
    return proposals.filter(({ number }) => number >= oldest && !this.#numbers.has(number));
  }
}
