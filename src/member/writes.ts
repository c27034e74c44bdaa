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
  /** Whether a message to the member has a way there now; true for this member itself. */
  readonly isConnected: (id: bigint) => boolean;
}

/**
 * Writes on their way through the log. One that finds no leader waits for the next, as in etcd. One
 * that was handed to a leader may or may not be committed when that leader, or the stream to it, is
 * lost. It is sent to the same leader again, who takes it once; and it is proposed anew when it
 * cannot be committed any more, as an entry of a later term was: all of its own term come before
 * that one. Those that are not retried (`Proposal.isRetried`) neither wait nor are proposed anew:
 * they fail.
 */
export class Writes {
  readonly #raft: Raft;
  readonly #proposals: Proposals;
  readonly #ports: WritesPorts;
  #parked: Proposal[] = [];
  #parkedBytes = 0;
  /** Of the last entry applied. */
  #appliedTerm = 0;
  /** Why the log takes nothing; undefined while it does. */
  #blockedBy: string | undefined;

  /** @param firstNumber far from those of any earlier incarnation of this member */
  constructor(raft: Raft, firstNumber: number, ports: WritesPorts) {
    this.#raft = raft;
    this.#proposals = new Proposals(raft.id, firstNumber);
    this.#ports = ports;
  }

  /** Accepted and not answered. */
  get open(): number {
    return this.#proposals.size;
  }

  /** Of the entries that are proposed from now on. */
  set format(format: number) {
    this.#proposals.format = format;
  }

  /** What they take, or will, once they are applied. */
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

  /** @param why the member's own log takes nothing */
  block(why: string): void {
    this.#blockedBy = why;
  }

  /** The log takes entries again. */
  unblock(): void {
    this.#blockedBy = undefined;
  }

  /** @returns whether it is in flight, or waits for a leader */
  propose(proposal: Proposal): boolean {
    // Another member's log takes what is passed on to it; a leader needs its own.
    if (this.#blockedBy !== undefined && (this.#raft.isLeader || this.#raft.lead === NONE)) {
      this.#fail(proposal, this.#blockedBy);
      return false;
    }
    // The member's own, which are few, go on: the cluster's clock and its format depend on them.
    if (this.#isFull() && proposal.isRetried) {
      this.#ports.metrics.add(LIMIT_REACHED.proposals, 1);
      this.#fail(proposal, TOO_MANY);
      return false;
    }
    this.#proposals.add(proposal);
    return this.#submit(proposal);
  }

  #isFull(): boolean {
    const { proposalsMax, proposalBytesMax } = this.#ports.limits;
    return this.#proposals.size >= proposalsMax || this.#proposals.dataBytes >= proposalBytesMax;
  }

  /** What is passed on to a leader that cannot be reached would be lost, and waits instead. */
  #submit(open: Proposal): boolean {
    assert(open.term === 0, "it is in no log that still counts");
    const { lead } = this.#raft;
    const hasLeader = lead !== NONE && this.#ports.isConnected(lead);
    const result = hasLeader
      ? this.#raft.propose(open.data, open.number, this.#proposals.oldest)
      : NO_LEADER;
    if (result.kind === "refused") return this.#parks(open, result.reason);
    const isOnce = result.kind === "appended" || result.isOnce;
    open.term = isOnce ? result.term : Number.POSITIVE_INFINITY;
    return true;
  }

  /**
   * The leader, or the stream to it, was lost and is there again: what was passed on may be lost.
   */
  sendAgain(): void {
    if (this.#raft.isLeader) return;
    const { term } = this.#raft;
    for (const { term: itsTerm, data, number, isRetried } of this.#proposals.all()) {
      if (itsTerm !== term || !isRetried) continue;
      // One that finds no room may have arrived the first time: it is not refused.
      this.#raft.propose(data, number, this.#proposals.oldest);
    }
  }

  /**
   * Before the first entry of a term is applied: those of earlier terms that are still open are
   * lost.
   */
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
      this.#submit(open);
    }
  }

  /** A snapshot takes the place of entries: what was among them is not known here. */
  skipTo(term: number): void {
    this.#appliedTerm = term;
    for (const open of this.#proposals.all()) {
      if (open.term > 0) open.term = Number.POSITIVE_INFINITY;
    }
  }

  /** Fails those that nobody waits for any more, unless they were handed to a leader. */
  abandon(isAbandoned: (proposal: Proposal) => boolean): void {
    if (this.#parked.length === 0) return;
    for (const open of this.#parked) {
      if (!this.#proposals.has(open) || !isAbandoned(open)) continue;
      this.#proposals.drop(open);
      this.#fail(open, TIMED_OUT);
    }
    this.#parked = this.#parked.filter((open) => this.#proposals.has(open));
    this.#parkedBytes = this.#parked.reduce((sum, { data }) => sum + data.length, 0);
  }

  /** As in Proposals. */
  takeIfOldest(data: Uint8Array): Proposal | undefined {
    return this.#proposals.takeIfOldest(data);
  }

  /** As in Proposals. */
  takeOf(envelope: Envelope): Proposal | undefined {
    return this.#proposals.takeOf(envelope);
  }

  /** There may be a leader to turn to: what waited for one goes on. */
  retry(): void {
    if (this.#parked.length === 0) return;
    const parked = this.#parked;
    this.#parked = [];
    this.#parkedBytes = 0;
    for (const open of parked) {
      if (this.#proposals.has(open)) this.#submit(open); // Else it timed out.
    }
  }

  /** @param why called for those that have waited since before `startMs` */
  giveUp(startMs: number, why: (startMs: number) => string): void {
    for (const proposal of this.#proposals.takeOlderThan(startMs)) {
      this.#fail(proposal, why(proposal.startMs));
    }
  }

  /** @returns whether it waits for a leader; otherwise it has failed */
  #parks(open: Proposal, reason: ProposeRefusal): boolean {
    assert(open.term === 0, "a rejected proposal was handed to nobody");
    const waits = reason === "noLeader" || reason === "transferring";
    if (waits && open.isRetried) {
      if (this.#hasRoomToPark()) {
        this.#parked.push(open);
        this.#parkedBytes += open.data.length;
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

  #fail(proposal: Proposal, why: string): void {
    this.#ports.metrics.add(FAILED, 1);
    proposal.failed(why);
  }
}
