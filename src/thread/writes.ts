import type { MetricCells } from "../metrics/cells.js";
import { cellOf } from "../metrics/families.js";
import type { ProposeRefusal } from "../raft/propose.js";
import type { Raft } from "../raft/raft.js";
import { type Proposal, Proposals } from "./proposals.js";

const TOO_MANY = "etcdserver: too many requests";
const TIMED_OUT = "etcdserver: request timed out";

/** Writes that wait for a leader: more are refused. */
const PARKED_MAX = 16_384;
const PARKED_BYTES_MAX = 64 * 1024 * 1024;

const FAILED = cellOf("proposalsFailed");

interface Parked {
  readonly number: number;
  readonly data: Uint8Array;
}

export interface WritesPorts {
  readonly metrics: MetricCells;
  /** Tells whoever waits for it that a write failed, and why. */
  readonly refuse: (proposal: Proposal, why: string) => void;
}

/**
 * Writes on their way through the log. One that finds no leader waits for the next, as in etcd; one that
 * was handed to a leader who is then lost may or may not be committed, and is never proposed again.
 */
export class Writes {
  readonly #raft: Raft;
  readonly #proposals: Proposals;
  readonly #ports: WritesPorts;
  #parked: Parked[] = [];
  #parkedBytes = 0;
  /** Why the log takes nothing, or "". */
  #blockedBy = "";

  /** @param firstNumber above every one used in an earlier life of this member */
  constructor(raft: Raft, firstNumber: number, ports: WritesPorts) {
    this.#raft = raft;
    this.#proposals = new Proposals(raft.id, firstNumber);
    this.#ports = ports;
  }

  /** Accepted and not answered. */
  get open(): number {
    return this.#proposals.size;
  }

  get blockedBy(): string {
    return this.#blockedBy;
  }

  /** @param why the member's own log takes nothing; "" when it does again */
  block(why: string): void {
    this.#blockedBy = why;
  }

  propose(proposal: Proposal): void {
    // Another member's log takes what is passed on to it; a leader needs its own.
    if (this.#blockedBy !== "" && (this.#raft.isLeader || this.#raft.lead === 0n)) {
      this.#fail(proposal, this.#blockedBy);
      return;
    }
    const { data, number } = this.#proposals.add(proposal);
    const result = this.#raft.propose(data);
    if (result.kind === "refused") this.#onRefused(proposal, { number, data }, result.reason);
  }

  /** The command of a committed entry, and the proposal if it was made here and still waits. */
  take(data: Uint8Array) {
    return this.#proposals.take(data);
  }

  /** There is a leader, or one that tried to hand over leads on: what waited for that goes on. */
  onLeader(): void {
    if (this.#parked.length === 0) return;
    const parked = this.#parked;
    this.#parked = [];
    this.#parkedBytes = 0;
    for (const item of parked) {
      const proposal = this.#proposals.get(item.number);
      if (proposal === undefined) continue; // It timed out meanwhile.
      const result = this.#raft.propose(item.data);
      if (result.kind === "refused") this.#onRefused(proposal, item, result.reason);
    }
  }

  /** @param why called for those that have waited since before `startMs` */
  giveUp(startMs: number, why: (startMs: number) => string): void {
    for (const proposal of this.#proposals.takeOlderThan(startMs)) {
      this.#fail(proposal, why(proposal.startMs));
    }
  }

  #onRefused(proposal: Proposal, item: Parked, reason: ProposeRefusal): void {
    const waits = reason === "noLeader" || reason === "transferring";
    const hasRoom = this.#parked.length < PARKED_MAX && this.#parkedBytes < PARKED_BYTES_MAX;
    if (waits && hasRoom) {
      this.#parked.push(item);
      this.#parkedBytes += item.data.length;
      return;
    }
    this.#proposals.drop(item.number);
    this.#fail(proposal, waits || reason === "tooMany" ? TOO_MANY : TIMED_OUT);
  }

  #fail(proposal: Proposal, why: string): void {
    this.#ports.metrics.add(FAILED, 1);
    this.#ports.refuse(proposal, why);
  }
}
