/** Seed of random tests, part of their names or failures: SEED=n repeats a run. */
export const SEED: number = Number(process.env.SEED ?? 1 + Math.floor(Math.random() * 2 ** 31));
