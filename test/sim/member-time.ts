import assert from "node:assert/strict";
import { readEnvelope } from "#ringd/cluster/envelope.js";
import { LATE_TTL_LEVEL, VERSIONED_LEVEL } from "#ringd/cluster/format.js";
import { type Entry, EntryType } from "#ringd/raft/entry.js";
import { type Command, CommandOp } from "#ringd/store/command.js";
import { decodeCommand } from "#ringd/store/command-codec.js";
import { Action, type Event } from "#ringd/store/event.js";

/**
 * Limit of the difference between clocks: the delays, halts and catching up of a run. Jumps and
 * skews of wall clocks are up to an hour.
 */
const LAG_MS_MAX = 8000;

interface Deadline {
  /** Time of the client's request. */
  readonly askedMs: number;
  readonly ttlMs: number;
}

/** Checks the cluster's clock, and expiry by it, against the simulated time. */
export class TimeChecks {
  readonly #nowMs: () => number;
  /** Time of each value's request. */
  readonly asked = new Map<string, number>();
  readonly #deadlines = new Map<string, Deadline>();
  /** When each entry was first appended, by term and index. */
  readonly #appendedMs = new Map<string, number>();
  #lastIndex = 0;
  /**
   * Cluster time less simulated time, when the SYNC entries were appended: without a quorum, they
   * may be committed much later. Undefined until the first cluster time.
   */
  #offsetMs: number | undefined;
  #level = 1;
  #toldTerm = 0;
  /** Number of expired nodes with a known TTL. */
  expired = 0;
  /** Number of starts of the clock from a wall clock. */
  starts = 0;

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  /** Some member appends these; the leader is the first. */
  onAppended(entries: readonly Entry[]): void {
    for (const { index, term } of entries) {
      const key = `${term}/${index}`;
      if (!this.#appendedMs.has(key)) this.#appendedMs.set(key, this.#nowMs());
    }
  }

  /**
   * Some member considers these committed. @param mayStart whether all members that know the time
   * may be unreachable
   */
  onCommitted(entries: readonly Entry[], mayStart: () => boolean): void {
    for (const { index, term, type, data } of entries) {
      if (index <= this.#lastIndex) continue;
      this.#lastIndex = index;
      if (type !== EntryType.normal || data.length === 0) continue;
      const command = decodeCommand(data, readEnvelope(data).payloadAt);
      if (command.op === CommandOp.raise) this.#forget(Number(command.prevIndex));
      else if (command.op === CommandOp.sync) this.#onSync(command, index, term, mayStart);
    }
  }

  /** A change not seen before. */
  onEvent({ action, node, prevNode, timeMs, isRefresh }: Event): void {
    if (action === Action.expire) this.#onExpired(node.path);
    else if (this.#level < LATE_TTL_LEVEL) return;
    else if (node.expirationMs > 0 && !isRefresh && !node.isDirectory) {
      const askedMs = this.asked.get(node.value);
      const ttlMs = node.expirationMs - timeMs;
      if (askedMs === undefined) this.#deadlines.delete(node.path);
      else this.#deadlines.set(node.path, { askedMs, ttlMs });
    } else if (node.path !== prevNode?.path || isRefresh || node.expirationMs === 0) {
      this.#deadlines.delete(node.path);
    }
  }

  #onSync(
    { timeMs, isRefresh }: Command,
    index: number,
    term: number,
    mayStart: () => boolean,
  ): void {
    const isVoid = this.#level >= VERSIONED_LEVEL && isRefresh && this.#toldTerm === term;
    this.#toldTerm = term;
    if (isVoid) return;
    if (this.#level < VERSIONED_LEVEL) return;
    const appendedMs = this.#appendedMs.get(`${term}/${index}`);
    assert.ok(appendedMs !== undefined, "a committed entry was appended");
    const offsetMs = timeMs - appendedMs;
    if (isRefresh) {
      assert.ok(this.#offsetMs === undefined || mayStart(), "the cluster clock was started anew");
      this.starts++;
      this.#forget(this.#level);
      this.#offsetMs = offsetMs;
      return;
    }
    const aheadMs = offsetMs - (this.#offsetMs ?? offsetMs);
    assert.ok(aheadMs <= LAG_MS_MAX, `the cluster clock jumped ahead by ${aheadMs} ms`);
    this.#offsetMs = Math.max(this.#offsetMs ?? offsetMs, offsetMs);
  }

  #onExpired(path: string): void {
    const deadline = this.#deadlines.get(path);
    this.#deadlines.delete(path);
    if (deadline === undefined) return;
    this.expired++;
    const { askedMs, ttlMs } = deadline;
    const livedMs = this.#nowMs() - askedMs;
    assert.ok(
      livedMs >= ttlMs - LAG_MS_MAX,
      `${path} expired ${livedMs} ms after it was asked for with a TTL of ${ttlMs} ms`,
    );
  }

  /** Earlier deadlines follow another clock. */
  #forget(level: number): void {
    this.#level = level;
    this.#offsetMs = undefined;
    this.#deadlines.clear();
  }
}
