import { assert } from "#ringd/lib/assert.js";

/**
 * xoshiro128**: the one source of randomness of tests, so that one seed replays one run.
 *
 * Source: Blackman and Vigna, "Scrambled Linear Pseudorandom Number Generators", 2021. Seeded with
 * splitmix32, so that neighbouring seeds give unrelated runs.
 */
export class Prng {
  readonly #state = new Uint32Array(4);

  /** @param seed any safe integer */
  constructor(seed: number) {
    assert(Number.isSafeInteger(seed), "a seed is a safe integer");
    let mix = (seed ^ Math.floor(seed / 2 ** 32)) >>> 0;
    for (let i = 0; i < 4; i++) {
      mix = (mix + 0x9e3779b9) >>> 0;
      let word = Math.imul(mix ^ (mix >>> 16), 0x21f0aaad);
      word = Math.imul(word ^ (word >>> 15), 0x735a2d97);
      this.#state[i] = word ^ (word >>> 15);
    }
  }

  /** Uniform in 0 .. 2^32 - 1. */
  uint32(): number {
    const s = this.#state as unknown as [number, number, number, number];
    const product = Math.imul(s[1], 5);
    const result = Math.imul((product << 7) | (product >>> 25), 9) >>> 0;
    const shifted = s[1] << 9;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= shifted;
    s[3] = (s[3] << 11) | (s[3] >>> 21);
    return result;
  }

  /** Uniform in 0 .. `below` - 1. The bias is below 2^-11 for `below` under 2^21. */
  below(below: number): number {
    assert(below > 0 && below <= 2 ** 32, "the bound is in 1 .. 2^32");
    return Math.floor((this.uint32() / 2 ** 32) * below);
  }

  /** True once in `n` times on average. */
  oneIn(n: number): boolean {
    return this.below(n) === 0;
  }

  /** One element of a list that is not empty. */
  pick<T>(list: readonly T[]): T {
    assert(list.length > 0, "there is something to pick from");
    return list[this.below(list.length)] as T;
  }
  /** A copy in any order: Fisher and Yates. */
  shuffled<T>(list: readonly T[]): T[] {
    const copy = [...list];
    for (let n = copy.length - 1; n > 0; n--) {
      const other = this.below(n + 1);
      [copy[n], copy[other]] = [copy[other] as T, copy[n] as T];
    }
    return copy;
  }
}
