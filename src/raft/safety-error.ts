import { RingdError } from "../lib/errors.js";
import type { Position } from "./log.js";

const REMEDY =
  "The data directory is left as it is. A member that runs on less data than it once had (an old backup, " +
  "a disk that lost synced writes) must be removed from the cluster and added again with an empty one";

/**
 * A message that no correct leader sends as long as every member has all that it ever acknowledged.
 * So one of them has lost votes or entries. To go on would be to guess which; the member stops
 * instead, and says what it found. (etcd panics: "tocommit(8) is out of range [lastIndex(3)]".)
 */
export class RaftSafetyError extends RingdError {
  override readonly name = "BrokenPromiseError";
  readonly code = "PROMISE_BROKEN";

  constructor(found: string, remedy = REMEDY) {
    super(`Cannot go on as a member of this cluster: ${found}. ${remedy}`);
  }
}

/**
 * The leader has this member's word for entries that it does not have: it is this member that lost
 * data.
 */
export function entriesLost(lead: bigint, commit: number, lastIndex: number): RaftSafetyError {
  return new RaftSafetyError(
    `leader ${name(lead)} counts on it for the log up to index ${commit}, and its log ends at ` +
      `${lastIndex}: its data directory has lost entries that it had acknowledged`,
    "The directory is left as it is. Remove this member from the cluster and add it again with an empty " +
      "data directory",
  );
}

/** Leader completeness does not hold (Raft paper, 5.4.3): somebody forgot an entry or a vote. */
export function historiesDiffer(
  lead: bigint,
  term: number,
  committed: Position,
  other: Position,
): RaftSafetyError {
  return new RaftSafetyError(
    `entry ${committed.index} was committed here in term ${committed.term}, and leader ${name(lead)} ` +
      `of term ${term} has one of term ${other.term} in its place: it was elected by members that have ` +
      "lost data",
  );
}

/** Election safety does not hold (Raft paper, 5.2): somebody forgot a vote. */
export function secondLeader(other: bigint, term: number): RaftSafetyError {
  return new RaftSafetyError(
    `it leads in term ${term}, and so does ${name(other)}: a member has voted for both, and has ` +
      "forgotten its first vote",
  );
}

/** As members are named to operators. */
function name(id: bigint): string {
  return id.toString(16);
}
