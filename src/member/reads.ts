import { OpenTable } from "../lib/open-table.js";
import type { MetricCells } from "../metrics/cells.js";
import { cellOf } from "../metrics/families.js";
import type { Raft } from "../raft/raft.js";
import type { ReadState } from "../raft/read-index.js";
import { TOO_MANY } from "./limits.js";

const HEALTH_CHECK_MS = 1000;

const FAILED = cellOf("readIndexesFailed");
const SLOW = cellOf("slowReadIndexes");

/**
 * A read that must not be answered from an outdated store. Exactly one of its methods is called,
 * once.
 */
export interface WaitingRead {
  /** By a clock that never jumps. */
  readonly startMs: number;
  /** It gives up after a second, and not with the other requests. */
  readonly isHealthCheck: boolean;
  /** This member has applied everything that was committed when the read came. */
  confirmed(): void;
  /** @param why in etcd's words */
  failed(why: string): void;
}

/** Linearizable reads between their request and raft's word that they may be answered. */
export class Reads {
  readonly #raft: Raft;
  readonly #metrics: MetricCells;
  /** By the context raft knows them by. */
  readonly #waiting = new OpenTable<WaitingRead>();
  /** Those that raft has given an index which the store has not reached yet. */
  #confirmed: ReadState[] = [];

  constructor(raft: Raft, metrics: MetricCells) {
    this.#raft = raft;
    this.#metrics = metrics;
  }

  add(read: WaitingRead): void {
    const context = this.#waiting.add(read);
    if (this.#raft.readIndex(context)) return;
    this.#waiting.take(context);
    this.#metrics.add(FAILED, 1);
    read.failed(TOO_MANY);
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
    for (const { ctx } of due) this.#waiting.take(ctx)?.confirmed();
  }

  /** Fails the reads that timed out. @param why called with the `startMs` of each */
  expire(monoMs: number, timeoutMs: number, why: (startMs: number) => string): void {
    for (const read of this.#takeExpired(monoMs, timeoutMs, HEALTH_CHECK_MS)) {
      this.#metrics.add(SLOW, 1);
      read.failed(why(read.startMs));
    }
  }

  failAll(why: string): void {
    for (const read of this.#takeExpired(Number.POSITIVE_INFINITY, 0, 0)) read.failed(why);
  }

  #takeExpired(monoMs: number, timeoutMs: number, healthCheckMs: number): WaitingRead[] {
    const taken: WaitingRead[] = [];
    for (const [context, read] of this.#waiting.entries()) {
      if (read.startMs > monoMs - (read.isHealthCheck ? healthCheckMs : timeoutMs)) continue;
      this.#waiting.take(context);
      taken.push(read);
    }
    return taken;
  }
}
