import { assert } from "../lib/assert.js";
import { RingdError } from "../lib/errors.js";
import {
  decodeConfChange as decodeRaftChange,
  encodeConfChange as encodeRaftChange,
  nextConf,
} from "../raft/conf-change.js";
import { type ConfState, type Entry, EntryType, type HardState, NONE } from "../raft/entry.js";
import type { RaftLog } from "../raft/log.js";
import { RAFT_LIMITS, type Restored } from "../raft/options.js";
import { restoreLog } from "../raft/restore.js";
import { formatId } from "./ids.js";
import { decodeMemberChange, type MemberChange } from "./member-change.js";
import { raftChangeOf } from "./raft-change.js";
import { judgeConfChange, type MemberList } from "./rules.js";

/** What --force-new-cluster finds on the disk. */
export interface ForceInputs {
  readonly memberId: bigint;
  /** For a member that its own log does not list, as after a restored backup. */
  readonly peerUrls: readonly string[];
  /** As of the snapshot that the store was restored from. */
  readonly membership: MemberList;
  readonly restored: Restored;
}

/** What raft starts with instead. The shell writes `added` and `hardState` to the disk first. */
export interface Forced {
  readonly restored: Restored;
  /** The end of `restored.entries`; on the disk it replaces whatever is in its place. */
  readonly added: readonly Entry[];
  /** The other members, which are removed. */
  readonly removed: readonly bigint[];
}

/** A member that cannot carry on alone. */
export class ForceNewClusterError extends RingdError {
  override readonly name = "ForceNewClusterError";
  readonly code = "FORCE_NEW_CLUSTER_REFUSED";
}

/**
 * Makes a member the only one of its cluster, with all its data: for when the others are lost for
 * good. The log gets conf changes at its end that remove everybody else, and all of it counts as
 * committed.
 *
 * etcd drops the entries beyond the commit index that the disk knows (restartAsStandaloneNode).
 * Here they stay: that index lags behind what was acknowledged, and what was not acknowledged may
 * happen or not as it likes. The added entries are of a term of their own, so that they cannot be
 * taken for what a lost leader wrote in their place.
 *
 * @throws ForceNewClusterError if this member was removed from its cluster
 */
export function forceNewCluster(inputs: ForceInputs): Forced {
  const { memberId, restored } = inputs;
  const log = restoreLog(restored, RAFT_LIMITS.packEntries);
  const end = replay(inputs, log);
  const ids = [...end.conf.voters, ...end.conf.learners];
  assert(
    ids.every((id) => end.members.has(id)),
    "who gets the log is a member",
  );
  const changes = changesToAlone(end, memberId, inputs.peerUrls);
  assert(changes.length > 0 || end.lastIndex === log.lastIndex, "only others cut the log");

  const lastTerm = Math.max(restored.hardState.term, log.lastTerm);
  const term = changes.length > 0 ? lastTerm + 1 : lastTerm;
  const added = changes.map((change, i): Entry => {
    const data = encodeRaftChange(raftChangeOf(change));
    return { index: end.lastIndex + 1 + i, term, type: EntryType.confChange, data };
  });
  const commit = end.lastIndex + added.length;
  const hardState: HardState = { term, vote: NONE, commit };
  const kept = isVoid(log, restored) ? [] : restored.entries;
  const entries = [...kept.filter(({ index }) => index <= end.lastIndex), ...added];
  return {
    restored: { ...restored, entries, hardState },
    added,
    removed: changes.flatMap((change) => (change.kind === "remove" ? [change.id] : [])),
  };
}

/** The members at the end of a log. */
interface LogEnd {
  readonly lastIndex: number;
  readonly conf: ConfState;
  readonly members: ReadonlyMap<bigint, readonly string[]>;
}

/** Follows the conf changes of the log as the members did, or will, when they apply them. */
function replay({ memberId, membership, restored }: ForceInputs, log: RaftLog): LogEnd {
  const isLost = new ForceNewClusterError(
    `member ${formatId(memberId)} was removed from its cluster: --force-new-cluster works on the data of a member, or on a backup`,
  );
  if (membership.isRemoved(memberId)) throw isLost;
  const members = new Map(membership.members().map(({ id, peerUrls }) => [id, peerUrls]));
  const removed = new Set<bigint>();
  const list: MemberList = {
    members: () => [...members].map(([id, peerUrls]) => ({ id, peerUrls })),
    isRemoved: (id) => removed.has(id) || membership.isRemoved(id),
  };
  let { conf } = restored.snapshot;
  for (let index = restored.snapshot.index + 1; index <= log.lastIndex; index++) {
    const entry = log.entry(index);
    if (entry.type !== EntryType.confChange) continue;
    const raftChange = decodeRaftChange(entry.data);
    const change = decodeMemberChange(raftChange.context);
    if (judgeConfChange(change, list) !== "ok") continue;
    if (change.kind === "remove" && change.id === memberId) {
      if (index <= log.commit) throw isLost;
      // Nobody knows whether the others agreed to it; they are gone, and so is the removal.
      return { lastIndex: index - 1, conf, members };
    }
    conf = nextConf(conf, raftChange);
    if (change.kind === "remove") {
      members.delete(change.id);
      removed.add(change.id);
    } else if (change.kind !== "promote") members.set(change.id, change.peerUrls);
  }
  return { lastIndex: log.lastIndex, conf, members };
}

/** This member comes first, as a cluster always has a voter. */
function changesToAlone(
  end: LogEnd,
  memberId: bigint,
  peerUrls: readonly string[],
): MemberChange[] {
  const { conf, members } = end;
  const changes: MemberChange[] = [];
  const others = [...members.keys()]
    .filter((id) => id !== memberId)
    .sort((a, b) => (a < b ? -1 : 1));
  if (!members.has(memberId)) {
    // A backup is often started where its original ran: the URLs are then those of a member to
    // remove.
    for (const id of others) {
      const isInTheWay = members.get(id)?.some((url) => peerUrls.includes(url));
      if (isInTheWay) changes.push({ kind: "update", id, peerUrls: [] });
    }
    changes.push({ kind: "add", id: memberId, peerUrls });
  }
  if (!conf.voters.includes(memberId)) changes.push({ kind: "promote", id: memberId });
  for (const id of others) changes.push({ kind: "remove", id });
  return changes;
}

/** The log ends before the snapshot, or contradicts it: then only the snapshot counts. */
function isVoid(log: RaftLog, { entries }: Restored): boolean {
  const first = entries[0];
  if (first === undefined || log.lastIndex > log.base.index) return false;
  return first.index !== log.base.index || first.term !== log.base.term;
}
