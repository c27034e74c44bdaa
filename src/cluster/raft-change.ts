import type { ConfChange as RaftConfChange } from "../raft/conf-change.js";
import {
  type ChangeOrigin,
  encodeMemberChange,
  type MemberChange,
  NO_ORIGIN,
} from "./member-change.js";

const OPS = {
  add: "addLearner",
  addLearner: "addLearner",
  promote: "addVoter",
  remove: "remove",
  update: "update",
} as const;

/**
 * Converts a change to raft's form. A new member becomes a learner first, so that the majority does
 * not grow before it replies.
 */
export function raftChangeOf(
  change: MemberChange,
  origin: ChangeOrigin = NO_ORIGIN,
): RaftConfChange {
  return { op: OPS[change.kind], member: change.id, context: encodeMemberChange(change, origin) };
}
