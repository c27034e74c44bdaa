import type { StartPlan } from "../bootstrap/start-plan.js";
import { forceNewCluster } from "../cluster/force-new-cluster.js";
import { formatId } from "../cluster/ids.js";
import { encodeMemberChange } from "../cluster/member-change.js";
import type { Membership } from "../cluster/membership.js";
import type { SnapshotHead } from "../cluster/snapshot-head.js";
import type { Config } from "../config/config.js";
import { assert } from "../lib/assert.js";
import type { Logger } from "../log/logger.js";
import { AppendType, writeEntry, writeHardState } from "../messages/log.js";
import { blank, bootstrap } from "../raft/bootstrap.js";
import type { Entry, HardState, SnapshotMeta } from "../raft/entry.js";
import type { RaftLimits, Restored } from "../raft/options.js";
import type { PackedEntries } from "../raft/packed-entries.js";
import { Raft } from "../raft/raft.js";
import type { Outlet } from "../ring/fragments.js";
import type { Store } from "../store/store.js";

/** The state recovered from disk. */
export interface RecoveredMember {
  readonly memberId: bigint;
  readonly clusterId: bigint;
  readonly snapshot: SnapshotMeta;
  /** Of `snapshot`. */
  readonly head: SnapshotHead;
  readonly store: Store;
  /** The log after the snapshot: as Restored has it. */
  readonly packed: PackedEntries;
  readonly entries: Entry[];
  readonly hardState: HardState;
}

export interface RaftStartPorts {
  readonly append: Outlet;
  readonly log: Logger;
  readonly raftLimits: RaftLimits;
  /** Uniform in 0 .. below - 1. */
  readonly random: (below: number) => number;
}

/**
 * Creates raft from the member's log or, without one, from its start plan.
 *
 * @param membership restored from the recovered store
 * @throws ForceNewClusterError
 */
export function startRaft(
  config: Config,
  plan: StartPlan | undefined,
  recovery: RecoveredMember,
  membership: Membership,
  ports: RaftStartPorts,
): Raft {
  const { heartbeatMs, electionMs, preVote } = config;
  assert(electionMs > heartbeatMs, "an election timeout is longer than a heartbeat interval");
  return new Raft({
    id: recovery.memberId,
    electionTicks: Math.round(electionMs / heartbeatMs),
    heartbeatTicks: 1,
    preVote,
    checkQuorum: true,
    random: ports.random,
    limits: ports.raftLimits,
    restored: restoredOf(config, plan, recovery, membership, ports),
  });
}

function restoredOf(
  config: Config,
  plan: StartPlan | undefined,
  { memberId, clusterId, snapshot, hardState, packed, entries }: RecoveredMember,
  membership: Membership,
  ports: RaftStartPorts,
): Restored {
  const restored = { snapshot, hardState, packed, entries, applied: snapshot.index };
  assert(hardState.commit >= snapshot.index, "what a snapshot holds is committed");
  const isNew = snapshot.index === 0 && hardState.term === 0 && entries.length === 0;
  if (!isNew) {
    return config.forceNewCluster
      ? goOnAlone(config, memberId, restored, membership, ports)
      : restored;
  }
  assert(plan !== undefined, "a start without a log has a plan");
  const ids = { memberId: formatId(memberId), clusterId: formatId(clusterId) };
  if (plan.kind === "join") {
    ports.log.info(ids, "joining a cluster");
    return blank();
  }
  assert(
    plan.members.some(({ id }) => id === memberId),
    "a member that founds a cluster is one of its founders",
  );
  ports.log.info(ids, "starting a new member");
  return found(plan, ports);
}

/** --force-new-cluster. @throws ForceNewClusterError */
function goOnAlone(
  { initialAdvertisePeerUrls: peerUrls }: Config,
  memberId: bigint,
  restored: Restored,
  membership: Membership,
  ports: RaftStartPorts,
): Restored {
  const forced = forceNewCluster({ memberId, peerUrls, membership, restored });
  assert(!forced.removed.includes(memberId), "the member that goes on stays a member");
  writeFirst(forced.added, forced.restored.hardState, ports.append);
  const removed = forced.removed.map(formatId);
  ports.log.warn({ removed }, "continuing as the only member of the cluster");
  return forced.restored;
}

/** First start of a founding member: every founder's log begins with the initial membership. */
function found(plan: StartPlan, ports: RaftStartPorts): Restored {
  const restored = bootstrap(
    plan.members.map(({ id, peerUrls }) => ({
      id,
      context: encodeMemberChange({ kind: "add", id, peerUrls }),
    })),
  );
  writeFirst(restored.entries, restored.hardState, ports.append);
  return restored;
}

/**
 * Appends the entries that raft assumes to be in the log already. The next append job makes them
 * durable.
 */
function writeFirst(entries: readonly Entry[], hardState: HardState, append: Outlet): void {
  assert(hardState.term > 0, "an entry is of a term");
  for (const entry of entries) writeEntry(append, AppendType.entry, entry);
  writeHardState(append, AppendType.hardState, hardState);
}
