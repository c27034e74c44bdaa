import type { MetricCells } from "../metrics/cells.js";
import { cellOf } from "../metrics/families.js";
import { NONE } from "../raft/entry.js";
import type { ProposeRefusal } from "../raft/propose.js";
import type { Raft } from "../raft/raft.js";
import { type OpenProposal, type Proposal, Proposals } from "./proposals.js";
import type { Client } from "./replies.js";

const TOO_MANY = "etcdserver: too many requests";
const TIMED_OUT = "etcdserver: request timed out";

/** Writes that wait for a leader: more are refused. */
const PARKED_MAX = 16_384;
const PARKED_BYTES_MAX = 64 * 1024 * 1024;

const FAILED = cellOf("proposalsFailed");

const NO_LEADER = { kind: "refused", reason: "noLeader" } as const;

export interface WritesPorts {
  readonly metrics: MetricCells;
  /** Whether a message to the member has a way there now; true for this member itself. */
  readonly isConnected: (id: bigint) => boolean;
  /** Tells whoever waits for it that a write failed, and why. */
  readonly refuse: (proposal: Proposal, why: string) => void;
}

/**
 * Writes on their way through the log. One that finds no leader waits for the next, as in etcd. One that
 * was handed to a leader may or may not be committed when that leader, or the stream to it, is lost. It is
 * sent to the same leader again, who takes it once; and it is proposed anew when it cannot be committed any
 * more, as an entry of a later term was: all of its own term come before that one. The member's own neither
 * wait nor are proposed anew: those who propose them repeat them until they are applied, and a time that is
 * told late, or a start of the clock in another term than the one it was meant for, is wrong.
 */
export class Writes {
  readonly #raft: Raft;
  readonly #proposals: Proposals;
  readonly #ports: WritesPorts;
  #parked: OpenProposal[] = [];
  #parkedBytes = 0;
  /** Of the last entry applied. */
  #appliedTerm = 0;
  /** Why the log takes nothing; undefined while it does. */
  #blockedBy: string | undefined;

  /** @param firstNumber far from those of any earlier life of this member */
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
    return this.#submit(this.#proposals.add(proposal));
  }

  /** What is passed on to a leader that cannot be reached would be lost, and waits instead. */
  #submit(open: OpenProposal): boolean {
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

  /** The leader, or the stream to it, was lost and is there again: what was passed on may be lost. */
  sendAgain(): void {
    if (this.#raft.isLeader) return;
    const { term } = this.#raft;
    for (const { term: itsTerm, data, number, proposal } of this.#proposals.all()) {
      if (itsTerm !== term || proposal.client === undefined) continue;
      // One that finds no room may have arrived the first time: it is not refused.
      this.#raft.propose(data, number, this.#proposals.oldest);
    }
  }

  /** Before the first entry of a term is applied: those of earlier terms that are still open are lost. */
  onTerm(term: number): void {
    if (term === this.#appliedTerm) return;
    this.#appliedTerm = term;
    for (const open of this.#proposals.all()) {
      if (open.term === 0 || open.term >= term) continue;
      if (open.proposal.client === undefined) {
        this.#proposals.drop(open.number);
        this.#fail(open.proposal, TIMED_OUT);
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

  /** Its client is gone: what was not handed to anybody is not worth it any more. */
  abort({ frontend, requestId }: Client): void {
    for (const open of this.#parked) {
      const { client } = open.proposal;
      if (client?.frontend !== frontend || client.requestId !== requestId) continue;
      if (this.#proposals.get(open.number) === undefined) continue;
      this.#proposals.drop(open.number);
      this.#fail(open.proposal, TIMED_OUT);
    }
    const isOpen = ({ number }: OpenProposal) => this.#proposals.get(number) !== undefined;
    if (this.#parked.length === 0) return;
    this.#parked = this.#parked.filter(isOpen);
    this.#parkedBytes = this.#parked.reduce((sum, { data }) => sum + data.length, 0);
  }

  /** The command of a committed entry, and the proposal if it was made here and still waits. */
  take(data: Uint8Array) {
    return this.#proposals.take(data);
  }

  /** There may be a leader to turn to: what waited for one goes on. */
  retry(): void {
    if (this.#parked.length === 0) return;
    const parked = this.#parked;
    this.#parked = [];
    this.#parkedBytes = 0;
    for (const open of parked) {
      if (this.#proposals.get(open.number) !== undefined) this.#submit(open); // Else it timed out.
    }
  }

  /** @param why called for those that have waited since before `startMs` */
  giveUp(startMs: number, why: (startMs: number) => string): void {
    for (const proposal of this.#proposals.takeOlderThan(startMs)) {
      this.#fail(proposal, why(proposal.startMs));
    }
  }

  /** @returns whether it waits for a leader; otherwise it has failed */
  #parks(open: OpenProposal, reason: ProposeRefusal): boolean {
    const waits = reason === "noLeader" || reason === "transferring";
    const isOwn = open.proposal.client === undefined;
    const hasRoom = this.#parked.length < PARKED_MAX && this.#parkedBytes < PARKED_BYTES_MAX;
    if (waits && !isOwn && hasRoom) {
      this.#parked.push(open);
      this.#parkedBytes += open.data.length;
      return true;
    }
    this.#proposals.drop(open.number);
    if (!waits || !isOwn) {
      this.#fail(open.proposal, waits || reason === "tooMany" ? TOO_MANY : TIMED_OUT);
    }
    return false;
  }

  #fail(proposal: Proposal, why: string): void {
    this.#ports.metrics.add(FAILED, 1);
    this.#ports.refuse(proposal, why);
  }
}
