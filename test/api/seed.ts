/** The seed of a random test: SEED=n repeats a failure. */
export function seedOf(): number {
  return process.env.SEED === undefined
    ? Math.floor(Math.random() * 2 ** 32)
    : Number(process.env.SEED);
}
