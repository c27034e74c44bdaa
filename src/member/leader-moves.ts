import { formatId } from "../cluster/ids.js";
import type { Membership } from "../cluster/membership.js";
import { assert } from "../lib/assert.js";
import type { MetricCells } from "../metrics/cells.js";
import { NONE } from "../raft/entry.js";
import type { Raft } from "../raft/raft.js";
import { tooManyChanges } from "../v2/members.js";
import { LEADER_MOVED, leaderNotMoved, refuseTransferee } from "../v2/move-leader.js";
import type { ApiResponse } from "../v2/plain.js";
import { LIMIT_REACHED, type MemberLimits } from "./limits.js";
import type { ClientRequest } from "./replies.js";

/** Heartbeats on top of an election timeout, for the way to the leader and back. */
const WAY_HEARTBEATS = 3;

const NO_LEADER = "etcdserver: no leader";
const TIMED_OUT = "etcdserver: request timed out, leader transfer took too long";
const STOPPED = "etcdserver: server stopped";

export interface LeaderMovesPorts {
  readonly raft: Raft;
  readonly membership: Membership;
  readonly metrics: MetricCells;
  readonly limits: Pick<MemberLimits, "changesMax">;
  readonly electionMs: number;
  readonly heartbeatMs: number;
  readonly isConnected: (id: bigint) => boolean;
  readonly answer: (client: ClientRequest, answer: ApiResponse) => void;
  readonly onMoved: (client: ClientRequest, id: bigint) => void;
}

interface Move {
  readonly client: ClientRequest;
  readonly id: bigint;
  readonly untilMs: number;
}

/**
 * Transfers of leadership that clients of this member wait for, whether it leads or not. The leader
 * gives one up after an election timeout, as it takes no writes meanwhile, and is not asked twice.
 */
export class LeaderMoves {
  readonly #ports: LeaderMovesPorts;
  #open: Move[] = [];

  constructor(ports: LeaderMovesPorts) {
    assert(ports.heartbeatMs > 0, "a heartbeat interval is positive");
    assert(ports.electionMs > ports.heartbeatMs, "an election timeout is some heartbeats");
    this.#ports = ports;
  }

  /** Call once this member has applied all entries that were committed when the request came. */
  add(client: ClientRequest, id: bigint, monoMs: number): void {
    const { raft, membership, metrics, limits, electionMs, heartbeatMs } = this.#ports;
    if (this.#open.length >= limits.changesMax) {
      metrics.add(LIMIT_REACHED.changes, 1);
      this.#ports.answer(client, tooManyChanges());
      return;
    }
    const isMember = membership.member(id) !== undefined;
    const refusal = refuseTransferee(id, { isMember, isVoter: raft.conf.voters.includes(id) });
    if (refusal !== undefined) {
      this.#ports.answer(client, refusal);
      return;
    }
    const move = { client, id, untilMs: monoMs + electionMs + WAY_HEARTBEATS * heartbeatMs };
    if (raft.lead === id) this.#succeed(move);
    else if (this.#begin(move)) this.#open.push(move);
    assert(this.#open.length <= limits.changesMax, "the open transfers are bounded");
  }

  /** A leader was elected. */
  elected(): void {
    const { raft } = this.#ports;
    if (this.#open.length === 0) return;
    assert(raft.lead !== NONE, "a leader that is elected is known");
    const open = this.#open;
    this.#open = [];
    for (const move of open) {
      if (move.id === raft.lead) this.#succeed(move);
      else if (this.#begin(move)) this.#open.push(move);
    }
    assert(this.#open.length <= open.length, "an election adds no transfer");
  }

  /** Called once per raft tick. */
  tick(monoMs: number): void {
    if (this.#open.length === 0) return;
    const { raft } = this.#ports;
    // A leader that leads on has given up; another transfer may have taken this one's place.
    const transferee = raft.isLeader ? raft.status().transferee : NONE;
    const hasEnded = ({ id, untilMs }: Move) =>
      monoMs >= untilMs || (raft.isLeader && transferee !== id);
    const ended = this.#open.filter(hasEnded);
    this.#open = this.#open.filter((move) => !hasEnded(move));
    for (const { client } of ended) this.#fail(client, TIMED_OUT);
  }

  /** Fails all, as the member stops. */
  endAll(): void {
    const open = this.#open;
    this.#open = [];
    for (const { client } of open) this.#fail(client, STOPPED);
  }

  /** @returns false if it was answered, as the leader cannot be asked */
  #begin({ client, id }: Move): boolean {
    const { raft, isConnected } = this.#ports;
    assert(id !== raft.lead, "leadership goes to another member");
    if (raft.isLeader && !isConnected(id)) {
      this.#fail(client, `member ${formatId(id)} is not connected to the leader`);
      return false;
    }
    if (raft.transferLeadership(id)) {
      assert(
        !raft.isLeader || raft.status().transferee === id,
        "a leader serves the last transfer",
      );
      return true;
    }
    this.#fail(client, NO_LEADER);
    return false;
  }

  #succeed({ client, id }: Move): void {
    assert(this.#ports.raft.lead === id, "a transfer succeeds once its member leads");
    this.#ports.onMoved(client, id);
    this.#ports.answer(client, LEADER_MOVED);
  }

  #fail(client: ClientRequest, why: string): void {
    assert(why !== "", "a client is told why");
    this.#ports.answer(client, leaderNotMoved(why));
  }
}
