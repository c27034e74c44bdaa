import { RingdError } from "../lib/errors.js";
import type { Position } from "./log.js";

const REMEDY =
  "The data directory is unchanged. A member whose data went back in time (an old backup, " +
  "a disk that lost synced writes) must be removed from the cluster and added again with an empty " +
  "data directory";

/**
 * A message that contradicts Raft's safety properties, so some member has lost votes or entries
 * that it acknowledged. Continuing could lose committed data, so this member stops and reports its
 * finding. (etcd panics: "tocommit(8) is out of range [lastIndex(3)]".)
 */
export class RaftSafetyError extends RingdError {
  override readonly name = "RaftSafetyError";
  readonly code = "RAFT_SAFETY";

  constructor(found: string, remedy = REMEDY) {
    super(`Cannot continue as a member of this cluster: ${found}. ${remedy}`);
  }
}

/** The leader counts entries as acknowledged that this member lacks: this member lost data. */
export function entriesLost(lead: bigint, commit: number, lastIndex: number): RaftSafetyError {
  return new RaftSafetyError(
    `leader ${name(lead)} has its acknowledgement up to index ${commit}, but its log ends at ` +
      `${lastIndex}: its data directory has lost acknowledged entries`,
    "The directory is unchanged. Remove this member from the cluster and add it again with an empty " +
      "data directory",
  );
}

/** Leader completeness is violated (Raft paper, 5.4.3): a member lost an entry or a vote. */
export function historiesDiffer(
  lead: bigint,
  term: number,
  committed: Position,
  other: Position,
): RaftSafetyError {
  return new RaftSafetyError(
    `entry ${committed.index} was committed here in term ${committed.term}, but leader ${name(lead)} ` +
      `of term ${term} has an entry of term ${other.term} there: it was elected by members that have ` +
      "lost data",
  );
}

/** Election safety is violated (Raft paper, 5.2): a member lost a vote. */
export function secondLeader(other: bigint, term: number): RaftSafetyError {
  return new RaftSafetyError(
    `both it and ${name(other)} lead in term ${term}: a member has lost its first vote and ` +
      "voted twice",
  );
}

/** As member ids are printed for operators. */
function name(id: bigint): string {
  return id.toString(16);
}
