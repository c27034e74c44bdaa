import type { MetricCells } from "../metrics/cells.js";
import { cellOf, idCellOf } from "../metrics/families.js";
import { PeerTable } from "../metrics/peer-table.js";
import type { RaftStatus } from "../raft/raft.js";
import type { StatName } from "../store/stats.js";
import type { Store } from "../store/store.js";

const COMMITTED = cellOf("proposalsCommitted");
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
/** The cells that show a statistic of the store. */
const STORE_CELLS: readonly (readonly [StatName, number])[] = [
  ...WRITES.flatMap(([action, stat]) => [
    [`${stat}Success`, cellOf("storeWrites", action)] as const,
    [`${stat}Fail`, cellOf("storeWritesFailed", action)] as const,
  ]),
  ["expireCount", cellOf("storeExpires")],
];

/** Shows raft's state, and on the leader how far the others are. */
export class RaftFigures {
  readonly #metrics: MetricCells;
  readonly #progress: PeerTable;

  constructor(metrics: MetricCells) {
    this.#metrics = metrics;
    this.#progress = new PeerTable(metrics, "progress");
  }

  /** Now and then, and whenever the leader or the role changes. */
  show({ id, role, term, vote, lead, commit, lastIndex, conf, peers }: RaftStatus): void {
    const metrics = this.#metrics;
    metrics.set(TERM, term);
    metrics.set(ROLE, ROLE_NUMBER[role]);
    metrics.set(LAST, lastIndex);
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
      const figures = this.#progress.take(to);
      figures.set("peerMatch", match);
      figures.set("peerNext", next);
      figures.set("peerState", STATE_NUMBER[state]);
    }
  }
}

/** The store's own counts, of which the writes are the same on all members. */
export function showStoreStats(metrics: MetricCells, store: Store): void {
  for (const [name, cell] of STORE_CELLS) metrics.set(cell, store.stats.get(name));
}
