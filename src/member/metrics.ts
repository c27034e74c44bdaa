import { formatId } from "../cluster/ids.js";
import { goDurationOfMs } from "../go/text.js";
import { assert } from "../lib/assert.js";
import type { Logger } from "../log/logger.js";
import type { MetricCells } from "../metrics/cells.js";
import { cellOf, idCellOf } from "../metrics/families.js";
import { PeerTable } from "../metrics/peer-table.js";
import { NONE } from "../raft/entry.js";
import type { RaftStatus } from "../raft/raft.js";
import type { StatName } from "../store/stats.js";
import type { Store } from "../store/store.js";

const HAS_LEADER = cellOf("hasLeader");
const IS_LEADER = cellOf("isLeader");
const COMMITTED = cellOf("proposalsCommitted");
const APPLIED = cellOf("proposalsApplied");
const PENDING = cellOf("proposalsPending");
const APPLY_SECONDS = cellOf("applyDuration");
const APPLY_ENTRIES = cellOf("applyBatchEntries");
const LATE_HEARTBEATS = cellOf("heartbeatSendFailures");
const IS_LEARNER = cellOf("isLearner");
const TERM = cellOf("raftTerm");
const LAST = cellOf("raftLastIndex");
const ROLE = cellOf("raftRole");
const LEAD = idCellOf("lead");
const VOTE = idCellOf("vote");

const ROLE_NUMBER = { follower: 0, candidate: 1, leader: 2, preCandidate: 3 } as const;
const STATE_NUMBER = { probe: 0, replicate: 1, snapshot: 2 } as const;

const WRITES = [
  ["set", "sets"],
  ["delete", "delete"],
  ["update", "update"],
  ["create", "create"],
  ["compareAndSwap", "compareAndSwap"],
  ["compareAndDelete", "compareAndDelete"],
] as const;
/** Metric cells copied from the store's statistics. Writes count alike on all members. */
const STORE_CELLS: readonly (readonly [StatName, number])[] = [
  ...WRITES.flatMap(([action, stat]) => [
    [`${stat}Success`, cellOf("storeWrites", action)] as const,
    [`${stat}Fail`, cellOf("storeWritesFailed", action)] as const,
  ]),
  ["expireCount", cellOf("storeExpires")],
];

/**
 * Publishes raft's state, the progress of entries and, on the leader, the progress of each peer.
 */
export class RaftMetrics {
  readonly #metrics: MetricCells;
  readonly #heartbeatMs: number;
  readonly #progress: PeerTable;
  readonly #log: Pick<Logger, "warn">;
  #tickedMs = 0;

  constructor(metrics: MetricCells, heartbeatMs: number, log: Pick<Logger, "warn">) {
    this.#metrics = metrics;
    this.#log = log;
    this.#heartbeatMs = heartbeatMs;
    this.#progress = new PeerTable(metrics, "progress");
  }

  /** Called once per raft tick. */
  onTick(status: RaftStatus, monoMs: number): void {
    const lateMs = monoMs - this.#tickedMs;
    assert(lateMs >= 0, "the monotonic clock never goes back");
    if (status.role === "leader" && this.#tickedMs > 0 && lateMs > 2 * this.#heartbeatMs) {
      this.#onLate(status.peers, lateMs);
    }
    this.#tickedMs = monoMs;
    this.show(status);
  }

  #onLate(peers: RaftStatus["peers"], lateMs: number): void {
    if (peers.length === 0) return;
    this.#metrics.add(LATE_HEARTBEATS, peers.length);
    const expectedMs = 2 * this.#heartbeatMs;
    this.#log.warn(
      {
        to: peers.map(({ id }) => formatId(id)).join(","),
        "heartbeat-interval": goDurationOfMs(this.#heartbeatMs),
        "expected-duration": goDurationOfMs(expectedMs),
        "exceeded-duration": goDurationOfMs(lateMs - expectedMs),
      },
      "leader failed to send out heartbeat on time; took too long, leader is overloaded likely from slow disk",
    );
  }

  /** A batch of entries was applied. */
  onApplied(entries: number, tookMs: number, store: Store): void {
    const metrics = this.#metrics;
    assert(entries > 0, "a batch that was applied has entries");
    metrics.observe(APPLY_SECONDS, tookMs / 1000);
    metrics.observe(APPLY_ENTRIES, entries);
    for (const [name, cell] of STORE_CELLS) metrics.set(cell, store.stats.get(name));
  }

  /** @param open writes accepted here that have no response yet */
  showWrites(commit: number, applied: number, open: number): void {
    const metrics = this.#metrics;
    assert(applied <= commit, "only committed entries are applied");
    assert(open >= 0, "a write is finished once");
    metrics.set(COMMITTED, commit);
    metrics.set(APPLIED, applied);
    metrics.set(PENDING, open);
  }

  /** Called periodically, and whenever the leader or the role changes. */
  show({ id, role, term, vote, lead, commit, lastIndex, conf, peers }: RaftStatus): void {
    const metrics = this.#metrics;
    assert(commit <= lastIndex, "committed entries exist");
    assert(role === "leader" || peers.length === 0, "only a leader tracks its peers");
    metrics.set(TERM, term);
    metrics.set(ROLE, ROLE_NUMBER[role]);
    metrics.set(LAST, lastIndex);
    metrics.set(HAS_LEADER, lead === NONE ? 0 : 1);
    metrics.set(IS_LEADER, role === "leader" ? 1 : 0);
    metrics.set(COMMITTED, commit);
    metrics.set(IS_LEARNER, conf.learners.includes(id) ? 1 : 0);
    metrics.setId(LEAD, lead);
    metrics.setId(VOTE, vote);
    if (role !== "leader") {
      this.#progress.releaseAll();
      return;
    }
    this.#progress.keepOnly(peers.map((peer) => peer.id));
    for (const { id: to, match, next, state } of peers) {
      const peerMetrics = this.#progress.take(to);
      peerMetrics.set("peerMatch", match);
      peerMetrics.set("peerNext", next);
      peerMetrics.set("peerState", STATE_NUMBER[state]);
    }
  }
}
