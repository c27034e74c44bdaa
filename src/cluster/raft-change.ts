import type { ConfChange as RaftConfChange } from "../raft/conf-change.js";
import {
  type ChangeOrigin,
  encodeMemberChange,
  type MemberChange,
  NO_ORIGIN,
} from "./member-change.js";

const OPS = { add: "addLearner", promote: "addVoter", remove: "remove", update: "update" } as const;

/**
 * A change as raft knows it. A new member gets the log before it has a vote: as long as it does not
 * answer, the others need no larger majority.
 */
export function raftChangeOf(
  change: MemberChange,
  origin: ChangeOrigin = NO_ORIGIN,
): RaftConfChange {
  return { op: OPS[change.kind], member: change.id, context: encodeMemberChange(change, origin) };
}
