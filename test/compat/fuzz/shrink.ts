/**
 * Drops as much of a failing list as possible: ever smaller pieces, while the rest still fails
 * (Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", 2002, simplified).
 *
 * @param fails must hold for `items`
 */
export async function shrink<T>(
  items: readonly T[],
  fails: (items: readonly T[]) => Promise<boolean>,
): Promise<readonly T[]> {
  let kept = items;
  for (let size = Math.ceil(kept.length / 2); size >= 1; size = Math.floor(size / 2)) {
    // From the end: the last items are the likeliest to matter.
    for (let at = kept.length - size; at > -size; at -= size) {
      const from = Math.max(0, at);
      const rest = [...kept.slice(0, from), ...kept.slice(at + size)];
      if (rest.length < kept.length && (await fails(rest))) kept = rest;
    }
  }
  return kept;
}
