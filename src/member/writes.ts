import type { Envelope } from "../cluster/envelope.js";
import { assert } from "../lib/assert.js";
import type { MetricCells } from "../metrics/cells.js";
import { cellOf } from "../metrics/families.js";
import { NONE } from "../raft/entry.js";
import type { ProposeRefusal } from "../raft/propose.js";
import type { Raft } from "../raft/raft.js";
import { LIMIT_REACHED, type MemberLimits, TOO_MANY } from "./limits.js";
import { type Proposal, Proposals } from "./proposals.js";

const TIMED_OUT = "etcdserver: request timed out";

const FAILED = cellOf("proposalsFailed");

type WriteLimits = Pick<
  MemberLimits,
  "proposalsMax" | "proposalBytesMax" | "parkedMax" | "parkedBytesMax"
>;

const NO_LEADER = { kind: "refused", reason: "noLeader" } as const;

export interface WritesPorts {
  readonly limits: WriteLimits;
  readonly metrics: MetricCells;
  /** Whether the stream to the member is open; true for this member itself. */
  readonly isConnected: (id: bigint) => boolean;
}

/**
 * Pending writes. Without a leader a write waits for one, as in etcd. When a leader, or the stream
 * to it, is lost, a write passed to it may or may not be committed. It is sent to the same leader
 * again, which takes it at most once. Once an entry of a later term is applied, the write can no
 * longer be committed in its own term, and it is proposed again. Writes with `isRetried` false
 * neither wait nor are proposed again: they fail.
 */
export class Writes {
  readonly #raft: Raft;
  readonly #proposals: Proposals;
  readonly #ports: WritesPorts;
  #parked: Proposal[] = [];
  #parkedBytes = 0;
  /** Of the last applied entry. */
  #appliedTerm = 0;
  /** Why the WAL rejects appends; undefined while it accepts them. */
  #blockedBy: string | undefined;

  /** @param firstNumber far from the range of any earlier incarnation of this member */
  constructor(raft: Raft, firstNumber: number, ports: WritesPorts) {
    this.#raft = raft;
    this.#proposals = new Proposals(raft.id, firstNumber);
    this.#ports = ports;
  }

  /** Writes accepted and not yet applied or failed. */
  get open(): number {
    return this.#proposals.size;
  }

  /** Envelope format of new entries. */
  set format(format: number) {
    this.#proposals.format = format;
  }

  /** Bytes reserved for open writes, their entries and share of the state. */
  get openBytes(): number {
    return this.#proposals.openBytes;
  }

  /** Of their entries. */
  get dataBytes(): number {
    return this.#proposals.dataBytes;
  }

  get isBlocked(): boolean {
    return this.#blockedBy !== undefined;
  }

  /** The member's own WAL rejects appends. @param why shown to clients */
  block(why: string): void {
    assert(why !== "", "clients are told why");
    this.#blockedBy = why;
  }

  /** The WAL accepts appends again. */
  unblock(): void {
    this.#blockedBy = undefined;
  }

  /** @returns whether it is in flight, or waits for a leader */
  propose(proposal: Proposal): boolean {
    // A follower's proposals go to the leader's log; a leader needs its own.
    if (this.#blockedBy !== undefined && (this.#raft.isLeader || this.#raft.lead === NONE)) {
      this.#fail(proposal, this.#blockedBy);
      return false;
    }
    // The member's own few proposals are always admitted, as the cluster's clock and format need
    // them.
    if (this.#isFull() && proposal.isRetried) {
      this.#ports.metrics.add(LIMIT_REACHED.proposals, 1);
      this.#fail(proposal, TOO_MANY);
      return false;
    }
    this.#proposals.add(proposal);
    return this.#submit(proposal, true);
  }

  #isFull(): boolean {
    const { proposalsMax, proposalBytesMax } = this.#ports.limits;
    return this.#proposals.size >= proposalsMax || this.#proposals.dataBytes >= proposalBytesMax;
  }

  /**
   * Proposes it, or parks it: a proposal forwarded to an unreachable leader would be lost.
   *
   * @param isNew it was not parked or proposed before; only then do the limits of parked writes
   *   apply, as a change of leader may make all open ones wait at once
   */
  #submit(open: Proposal, isNew: boolean): boolean {
    assert(open.term === 0, "it is in no log that still counts");
    assert(open.number > 0 && open.data.length > 0, "a proposal has a number and an entry");
    const { lead } = this.#raft;
    const hasLeader = lead !== NONE && this.#ports.isConnected(lead);
    const result = hasLeader
      ? this.#raft.propose(open.data, open.number, this.#proposals.oldest)
      : NO_LEADER;
    if (result.kind === "refused") return this.#parks(open, result.reason, isNew);
    const isOnce = result.kind === "appended" || result.isOnce;
    open.term = isOnce ? result.term : Number.POSITIVE_INFINITY;
    assert(open.term > 0, "0 stands for a proposal that was handed to nobody");
    assert(!isOnce || open.term === this.#raft.term, "a proposal is for the current term");
    return true;
  }

  /** The leader, or the stream to it, is back after a loss: forwarded writes may be lost. */
  sendAgain(): void {
    if (this.#raft.isLeader) return;
    const { term } = this.#raft;
    for (const { term: itsTerm, data, number, isRetried } of this.#proposals.all()) {
      if (itsTerm !== term || !isRetried) continue;
      // Ignore a rejection: the write may have arrived the first time.
      this.#raft.propose(data, number, this.#proposals.oldest);
    }
  }

  /** Called before the first entry of a term is applied: open writes of earlier terms are lost. */
  onTerm(term: number): void {
    if (term === this.#appliedTerm) return;
    assert(term > this.#appliedTerm, "terms of applied entries only grow");
    this.#appliedTerm = term;
    for (const open of this.#proposals.all()) {
      if (open.term === 0 || open.term >= term) continue;
      if (!open.isRetried) {
        this.#proposals.drop(open);
        this.#fail(open, TIMED_OUT);
        continue;
      }
      open.term = 0;
      this.#submit(open, false);
    }
  }

  /** A snapshot replaced entries, and some of them may have been open writes. */
  skipTo(term: number): void {
    assert(term >= this.#appliedTerm, "terms of applied entries only grow");
    this.#appliedTerm = term;
    for (const open of this.#proposals.all()) {
      if (open.term > 0) open.term = Number.POSITIVE_INFINITY;
    }
  }

  /** Fails parked writes whose client is gone. Writes passed to a leader stay open. */
  abandon(isAbandoned: (proposal: Proposal) => boolean): void {
    let hasDropped = false;
    for (const open of this.#parked) {
      if (!this.#proposals.has(open) || !isAbandoned(open)) continue;
      this.#proposals.drop(open);
      this.#fail(open, TIMED_OUT);
      hasDropped = true;
    }
    if (!hasDropped) return;
    this.#parked = this.#parked.filter((open) => this.#proposals.has(open));
    this.#parkedBytes = this.#parked.reduce((sum, { data }) => sum + data.length, 0);
    this.#assertParked();
  }

  /** As in Proposals. */
  takeIfOldest(data: Uint8Array): Proposal | undefined {
    const taken = this.#proposals.takeIfOldest(data);
    assert(taken === undefined || taken.term > 0, "an entry was handed to a leader before");
    return taken;
  }

  /** As in Proposals. */
  takeOf(envelope: Envelope): Proposal | undefined {
    const taken = this.#proposals.takeOf(envelope);
    assert(taken === undefined || taken.term > 0, "an entry was handed to a leader before");
    return taken;
  }

  /** There may be a leader now: proposes the parked writes. */
  retry(): void {
    if (this.#parked.length === 0) return;
    const parked = this.#parked;
    this.#parked = [];
    this.#parkedBytes = 0;
    for (const open of parked) {
      if (this.#proposals.has(open)) this.#submit(open, false); // Otherwise it timed out.
    }
    assert(this.#parked.length <= parked.length, "only what was parked is parked again");
    this.#assertParked();
  }

  /**
   * Fails writes started at or before `startMs`.
   *
   * @param why returns the error text for a write's start
   */
  giveUp(startMs: number, why: (startMs: number) => string): void {
    for (const proposal of this.#proposals.takeOlderThan(startMs)) {
      this.#fail(proposal, why(proposal.startMs));
    }
  }

  /**
   * @returns whether the write is parked until there is a leader, or room on the way to it;
   *   otherwise it has failed
   */
  #parks(open: Proposal, reason: ProposeRefusal, isNew: boolean): boolean {
    assert(open.term === 0, "a rejected proposal was handed to nobody");
    const isHeldUp = reason === "tooMany" && !this.#raft.isLeader;
    const waits = reason === "noLeader" || reason === "transferring" || isHeldUp;
    if (waits && open.isRetried) {
      if (!isNew || this.#hasRoomToPark()) {
        this.#parked.push(open);
        this.#parkedBytes += open.data.length;
        this.#assertParked();
        return true;
      }
      this.#ports.metrics.add(LIMIT_REACHED.parked, 1);
    }
    this.#proposals.drop(open);
    if (waits && !open.isRetried) open.failed(TIMED_OUT);
    else this.#fail(open, waits || reason === "tooMany" ? TOO_MANY : TIMED_OUT);
    return false;
  }

  #hasRoomToPark(): boolean {
    const { parkedMax, parkedBytesMax } = this.#ports.limits;
    return this.#parked.length < parkedMax && this.#parkedBytes < parkedBytesMax;
  }

  #assertParked(): void {
    assert(this.#parked.length > 0 || this.#parkedBytes === 0, "an empty queue holds no bytes");
    assert(this.#parkedBytes >= 0, "a parked write's bytes are counted once");
  }

  #fail(proposal: Proposal, why: string): void {
    assert(!this.#proposals.has(proposal), "a write fails once, and is open no more");
    this.#ports.metrics.add(FAILED, 1);
    proposal.failed(why);
  }
}
