/**
 * Of a file's random tests, which have it in their names or their failures: SEED=n repeats a run.
 */
export const SEED: number = Number(process.env.SEED ?? 1 + Math.floor(Math.random() * 2 ** 31));
