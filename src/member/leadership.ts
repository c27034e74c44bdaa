import { formatId } from "../cluster/ids.js";
import { assert } from "../lib/assert.js";
import type { Logger } from "../log/logger.js";
import type { MetricCells } from "../metrics/cells.js";
import { cellOf } from "../metrics/families.js";
import { NONE } from "../raft/entry.js";
import type { Raft } from "../raft/raft.js";

const LEADER_CHANGES = cellOf("leaderChanges");

/**
 * Logs and counts leader changes, and transfers leadership away before a stop or while the disk
 * rejects writes.
 */
export class Leadership {
  readonly #raft: Raft;
  readonly #metrics: MetricCells;
  readonly #log: Pick<Logger, "info" | "warn">;
  #lastLeader = NONE;

  constructor(raft: Raft, metrics: MetricCells, log: Pick<Logger, "info" | "warn">) {
    this.#raft = raft;
    this.#metrics = metrics;
    this.#log = log;
  }

  /** Raft's soft state changed. @returns whether a new leader is known */
  changed(): boolean {
    const { lead, term } = this.#raft;
    if (lead === this.#lastLeader) return false;
    const before = formatId(this.#lastLeader);
    this.#lastLeader = lead;
    if (lead === NONE) {
      this.#log.warn(`lost leader ${before} at term ${term}`);
      return false;
    }
    assert(term > 0, "a leader was elected in a term");
    const isSelf = lead === this.#raft.id;
    assert(isSelf === this.#raft.isLeader, "the leader, and no other member, follows itself");
    const leader = formatId(lead);
    this.#metrics.add(LEADER_CHANGES, 1);
    this.#log.info({ leader, term }, `elected leader ${leader} at term ${term}`);
    return true;
  }

  handOver(): void {
    const transferee = this.#raft.bestTransferee();
    assert(transferee !== this.#raft.id, "leadership is transferred to another member");
    assert(this.#raft.isLeader || transferee === NONE, "only a leader knows who could lead next");
    if (transferee !== NONE) this.#raft.transferLeadership(transferee);
  }

  get isHandingOver(): boolean {
    return this.#raft.isLeader && this.#raft.status().transferee !== NONE;
  }
}
