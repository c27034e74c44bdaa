import { assert } from "../lib/assert.js";

/** Size of a majority of `voters`. */
export function majority(voters: number): number {
  return (voters >> 1) + 1;
}

/**
 * The highest value reached by a majority.
 *
 * @param reached one number per voter, not empty; sorted in place
 */
export function reachedByMajority(reached: number[]): number {
  assert(reached.length > 0, "a quorum has voters");
  if (reached.length > 1) reached.sort((a, b) => b - a);
  return reached[majority(reached.length) - 1] as number;
}

export type Tally = "won" | "lost" | "pending";

/** @param votes replies so far; those of non-voters do not count */
export function tallyVotes(voters: readonly bigint[], votes: ReadonlyMap<bigint, boolean>): Tally {
  assert(voters.length > 0, "an election has voters");
  let granted = 0;
  let refused = 0;
  for (const voter of voters) {
    const vote = votes.get(voter);
    if (vote === true) granted++;
    else if (vote === false) refused++;
  }
  assert(granted + refused <= voters.length, "a voter has one vote");
  const needed = majority(voters.length);
  if (granted >= needed) return "won";
  return voters.length - refused < needed ? "lost" : "pending";
}
