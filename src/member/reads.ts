import { goDurationOfMs } from "../go/text.js";
import { assert } from "../lib/assert.js";
import { OpenTable } from "../lib/open-table.js";
import type { Logger } from "../log/logger.js";
import type { MetricCells } from "../metrics/cells.js";
import { cellOf } from "../metrics/families.js";
import type { Raft } from "../raft/raft.js";
import type { ReadState } from "../raft/read-index.js";
import { TOO_MANY } from "./limits.js";

const HEALTH_CHECK_MS = 1000;

const FAILED = cellOf("readIndexesFailed");
const SLOW = cellOf("slowReadIndexes");

/** A linearizable read in progress. Exactly one of its methods is called, once. */
export interface WaitingRead {
  /** Where its client is. */
  readonly frontend: number;
  /** Monotonic, milliseconds. */
  readonly startMs: number;
  /** Times out after HEALTH_CHECK_MS instead of the request timeout. */
  readonly isHealthCheck: boolean;
  /** This member has applied all entries that were committed when the read came. */
  confirmed(): void;
  /** @param why etcd's error text */
  failed(why: string): void;
}

export interface ReadsPorts {
  readonly metrics: MetricCells;
  readonly log: Pick<Logger, "warn">;
  /** Whether the frontend takes responses; reads of its clients wait while it does not. */
  readonly hasRoom: (frontend: number) => boolean;
}

/** Linearizable reads that wait for raft's read index, and then until it is applied. */
export class Reads {
  readonly #raft: Raft;
  readonly #ports: ReadsPorts;
  /** By the context passed to raft. */
  readonly #waiting = new OpenTable<WaitingRead>();
  /** Reads with an index that is not applied yet, or without room for their response. */
  #confirmed: ReadState[] = [];
  #applied = 0;

  constructor(raft: Raft, ports: ReadsPorts) {
    this.#raft = raft;
    this.#ports = ports;
  }

  add(read: WaitingRead): void {
    const context = this.#waiting.add(read);
    assert(context > 0, "a read's number is not 0");
    if (this.#raft.readIndex(context)) return;
    this.#waiting.take(context);
    this.#ports.metrics.add(FAILED, 1);
    read.failed(TOO_MANY);
  }

  /**
   * Raft assigned indexes to some reads. On a follower an index may be ahead of the applied one.
   */
  confirm(states: readonly ReadState[]): void {
    for (const state of states) this.#confirmed.push(state);
  }

  /** The store contains all entries up to `applied`. */
  answerUpTo(applied: number): void {
    assert(applied >= this.#applied, "applied entries are not taken back");
    this.#applied = applied;
    if (!this.hasWork(applied)) return;
    const confirmed = this.#confirmed;
    this.#confirmed = [];
    for (const state of confirmed) {
      if (this.#isDue(state, applied)) this.#waiting.take(state.ctx)?.confirmed();
      else this.#confirmed.push(state);
    }
    assert(this.#confirmed.length <= confirmed.length, "only raft confirms reads, between turns");
  }

  /** Whether `answerUpTo` would do something. */
  hasWork(applied: number): boolean {
    return this.#confirmed.some((state) => this.#isDue(state, applied));
  }

  /** One that timed out meanwhile is due: it is only forgotten. */
  #isDue({ ctx, index }: ReadState, applied: number): boolean {
    if (index > applied) return false;
    const read = this.#waiting.get(ctx);
    return read === undefined || this.#ports.hasRoom(read.frontend);
  }

  /** Fails the reads that timed out. @param why returns the error text for a read's `startMs` */
  expire(monoMs: number, timeoutMs: number, why: (startMs: number) => string): void {
    assert(timeoutMs >= HEALTH_CHECK_MS, "a health check gives up before other reads");
    const { metrics, log } = this.#ports;
    const expired = this.#takeExpired(monoMs, timeoutMs, HEALTH_CHECK_MS);
    if (expired.length > 0) {
      log.warn(
        {
          timeout: goDurationOfMs(expired.every(isCheck) ? HEALTH_CHECK_MS : timeoutMs),
          reads: expired.length,
        },
        "timed out waiting for read index response (local node might have slow network)",
      );
    }
    for (const read of expired) {
      metrics.add(SLOW, 1);
      read.failed(why(read.startMs));
    }
  }

  failAll(why: string): void {
    for (const read of this.#takeExpired(Number.POSITIVE_INFINITY, 0, 0)) read.failed(why);
    assert(this.#waiting.size === 0, "a member that stops leaves no read without a response");
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

function isCheck({ isHealthCheck }: WaitingRead): boolean {
  return isHealthCheck;
}
