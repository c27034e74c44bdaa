import { OpenTable } from "../lib/open-table.js";
import type { Raft } from "../raft/raft.js";
import type { ReadState } from "../raft/read-index.js";
import type { Client } from "./replies.js";

/** A read that must not be answered from an outdated store. */
export interface WaitingRead {
  readonly client: Client;
  /** This member has applied everything that was committed when the read came. */
  readonly then: () => void;
  readonly startMs: number;
  /** Who gives up has an answer of its own kind; a health check does so sooner. */
  readonly kind: "keys" | "change" | "health";
}

/** Linearizable reads between their request and raft's word that they may be answered. */
export class Reads {
  readonly #raft: Raft;
  /** By the context raft knows them by. */
  readonly #waiting = new OpenTable<WaitingRead>();
  /** Those that raft has given an index which the store has not reached yet. */
  #confirmed: ReadState[] = [];

  constructor(raft: Raft) {
    this.#raft = raft;
  }

  /** @returns false if too many wait already */
  add(read: WaitingRead): boolean {
    const context = this.#waiting.add(read);
    if (this.#raft.readIndex(context)) return true;
    this.#waiting.take(context);
    return false;
  }

  /** Raft's word on some of them. On a follower the index may be ahead of what it has applied. */
  confirm(states: readonly ReadState[]): void {
    for (const state of states) this.#confirmed.push(state);
  }

  /** The store contains everything up to `applied`. */
  answerUpTo(applied: number): void {
    if (this.#confirmed.length === 0) return;
    const due = this.#confirmed.filter(({ index }) => index <= applied);
    if (due.length === 0) return;
    this.#confirmed = this.#confirmed.filter(({ index }) => index > applied);
    for (const { ctx } of due) this.#waiting.take(ctx)?.then();
  }

  /** Takes out those for whose patience it is too late. */
  takeExpired(nowMs: number, patienceMs: number, healthPatienceMs: number): WaitingRead[] {
    const taken: WaitingRead[] = [];
    for (const [context, read] of this.#waiting.entries()) {
      if (read.startMs > nowMs - (read.kind === "health" ? healthPatienceMs : patienceMs)) continue;
      this.#waiting.take(context);
      taken.push(read);
    }
    return taken;
  }

  takeAll(): WaitingRead[] {
    return this.takeExpired(Number.POSITIVE_INFINITY, 0, 0);
  }
}
