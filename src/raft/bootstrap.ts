import { assert } from "../lib/assert.js";
import { encodeConfChange } from "./conf-change.js";
import { type Entry, EntryType, NONE } from "./entry.js";
import type { Restored } from "./options.js";

/** A member of the initial membership; `context` as in its confChange entry. */
export interface FirstMember {
  readonly id: bigint;
  readonly context: Uint8Array;
}

/**
 * The initial log of each founding member: one committed addVoter entry per member, ascending by
 * id, so that all founders begin with the same log and later members learn the membership from it.
 * The shell writes `entries` and `hardState` like a disk job before it constructs Raft with them. A
 * joining member starts from `blank()` instead.
 */
export function bootstrap(members: readonly FirstMember[]): Restored {
  assert(members.length > 0, "a cluster has members");
  const ordered = [...members].sort((a, b) => (a.id < b.id ? -1 : 1));
  const entries = ordered.map(({ id, context }, i): Entry => {
    assert(id !== NONE, "a member's id is not 0");
    assert(id !== ordered[i + 1]?.id, "member ids are distinct");
    const data = encodeConfChange({ op: "addVoter", member: id, context });
    return { index: i + 1, term: 1, type: EntryType.confChange, data };
  });
  return { ...blank(), hardState: { term: 1, vote: NONE, commit: entries.length }, entries };
}

/** The empty state of a joining member, which learns everything from the leader. */
export function blank(): Restored {
  return {
    hardState: { term: 0, vote: NONE, commit: 0 },
    snapshot: { index: 0, term: 0, conf: { voters: [], learners: [] } },
    entries: [],
    applied: 0,
  };
}
