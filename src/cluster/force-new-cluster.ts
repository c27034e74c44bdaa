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

/** The recovered state that --force-new-cluster works on. */
export interface ForceInputs {
  readonly memberId: bigint;
  /** Used if the log does not list this member, as after restoring a backup. */
  readonly peerUrls: readonly string[];
  /** As of the restored snapshot. */
  readonly membership: MemberList;
  readonly restored: Restored;
}

/**
 * The state raft starts from instead. The shell first writes `added` and the hard state to disk.
 */
export interface Forced {
  readonly restored: Restored;
  /** The last of `restored.entries`; on disk they replace entries with the same indexes. */
  readonly added: readonly Entry[];
  /** Ids of the other members, which are removed. */
  readonly removed: readonly bigint[];
}

/** This member cannot continue alone. */
export class ForceNewClusterError extends RingdError {
  override readonly name = "ForceNewClusterError";
  readonly code = "FORCE_NEW_CLUSTER_REFUSED";
}

/**
 * Makes a member the only one of its cluster while keeping its data, for when the others are lost
 * for good. Appends conf changes that remove all others, and commits the whole log.
 *
 * etcd drops entries after the commit index on disk (restartAsStandaloneNode). Here they stay: that
 * index may be behind acknowledged writes, and unacknowledged ones may legally be kept. The added
 * entries have a term of their own, so they cannot be confused with a lost leader's entries at the
 * same indexes.
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
    "voters and learners are members",
  );
  const changes = changesToAlone(end, memberId, inputs.peerUrls);
  assert(
    changes.length > 0 || end.lastIndex === log.lastIndex,
    "a log is truncated only if there are others to remove",
  );

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

/** Replays the conf changes of the log as the members apply them. */
function replay({ memberId, membership, restored }: ForceInputs, log: RaftLog): LogEnd {
  const isLost = new ForceNewClusterError(
    `member ${formatId(memberId)} was removed from its cluster: --force-new-cluster needs the data of a member, or a backup`,
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
      // Not known to be committed, and the others are gone: drop the removal and all after it.
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

/** Adds and promotes this member before it removes others, as a cluster always needs a voter. */
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
    // A backup is often started on its original host, so its URLs may belong to a member to be
    // removed.
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

/** Whether the log ends before the snapshot or contradicts it, so that restoreLog dropped it. */
function isVoid(log: RaftLog, { entries }: Restored): boolean {
  const first = entries[0];
  if (first === undefined || log.lastIndex > log.base.index) return false;
  return first.index !== log.base.index || first.term !== log.base.term;
}
