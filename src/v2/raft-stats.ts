import { RateWindow } from "./rate-window.js";
import type { FollowerStats, SelfStats } from "./stats.js";

/** Unacknowledged appends per follower that are measured; older ones are dropped. */
const UNANSWERED_MAX = 1024;
/** etcd's initial minimum, shown until the follower's first reply. */
const NO_MINIMUM = 2 ** 63;

/** Latencies of one follower in milliseconds, computed as in etcd's v2stats/leader.go. */
export class FollowerMetrics implements FollowerStats {
  current = 0;
  average = 0;
  minimum = NO_MINIMUM;
  maximum = 0;
  fail = 0;
  success = 0;
  #averageSquare = 0;
  /** Rings of unacknowledged appends, oldest first: last index, and when it was sent. */
  readonly #indexes = new Float64Array(UNANSWERED_MAX);
  readonly #timesMs = new Float64Array(UNANSWERED_MAX);
  /** Counters that only grow; slot `#tail % UNANSWERED_MAX` is written next. */
  #head = 0;
  #tail = 0;

  get standardDeviation(): number {
    // Rounding can make the variance slightly negative.
    return Math.sqrt(Math.max(0, this.#averageSquare - this.average * this.average));
  }

  sent(lastIndex: number, monoMs: number): void {
    if (this.#tail - this.#head === UNANSWERED_MAX) this.#head++;
    const slot = this.#tail++ % UNANSWERED_MAX;
    this.#indexes[slot] = lastIndex;
    this.#timesMs[slot] = monoMs;
  }

  /** The follower acknowledged everything up to `index`. */
  answered(index: number, monoMs: number): void {
    for (; this.#head < this.#tail; this.#head++) {
      const slot = this.#head % UNANSWERED_MAX;
      if ((this.#indexes[slot] as number) > index) break;
      this.#succeed(Math.max(0, monoMs - (this.#timesMs[slot] as number)));
    }
  }

  /** Unacknowledged appends are lost. */
  failed(): void {
    this.fail++;
    this.forget();
  }

  /** Stops waiting for replies to earlier appends. */
  forget(): void {
    this.#head = this.#tail;
  }

  #succeed(latencyMs: number): void {
    const before = this.success++;
    this.current = latencyMs;
    this.maximum = Math.max(this.maximum, latencyMs);
    this.minimum = Math.min(this.minimum, latencyMs);
    this.average = (before * this.average + latencyMs) / this.success;
    this.#averageSquare = (before * this.#averageSquare + latencyMs * latencyMs) / this.success;
  }
}

/**
 * Statistics of /v2/stats/self and /v2/stats/leader. Appends count, heartbeats do not. As in etcd,
 * a member shows itself as leader until another one's append arrives, even after it lost its
 * quorum.
 *
 * `monoMs` is monotonic, `wallMs` Unix milliseconds.
 */
export class RaftStats {
  readonly #memberId: bigint;
  readonly #name: string;
  readonly #startWallMs: number;
  readonly #followers = new Map<bigint, FollowerMetrics>();
  readonly #sendWindow = new RateWindow();
  readonly #recvWindow = new RateWindow();
  #isLeader = false;
  #leaderId = 0n;
  #leaderSinceWallMs: number;
  #sentCount = 0;
  #receivedCount = 0;

  constructor(memberId: bigint, name: string, wallMs: number) {
    this.#memberId = memberId;
    this.#name = name;
    this.#startWallMs = wallMs;
    this.#leaderSinceWallMs = wallMs;
  }

  /** Sets the other members; statistics of those that stay are kept. */
  setPeers(ids: readonly bigint[]): void {
    for (const id of this.#followers.keys()) if (!ids.includes(id)) this.#followers.delete(id);
    for (const id of ids) {
      if (!this.#followers.has(id)) this.#followers.set(id, new FollowerMetrics());
    }
  }

  onBecomeLeader(wallMs: number): void {
    if (this.#isLeader) return;
    this.#isLeader = true;
    this.#leaderId = this.#memberId;
    this.#leaderSinceWallMs = wallMs;
  }

  /** @param lastIndex last index of its entries; prevIndex if it has none */
  onAppendSent(id: bigint, lastIndex: number, bytes: number, monoMs: number): void {
    this.#sentCount++;
    this.#sendWindow.add(monoMs, bytes);
    this.#followers.get(id)?.sent(lastIndex, monoMs);
  }

  /** The follower acknowledged the log up to `index`. */
  onAppendReply(id: bigint, index: number, monoMs: number): void {
    this.#followers.get(id)?.answered(index, monoMs);
  }

  /** The stream to the follower closed, or it rejected an append. */
  onAppendFailed(id: bigint): void {
    this.#followers.get(id)?.failed();
  }

  onAppendReceived(leader: bigint, bytes: number, monoMs: number, wallMs: number): void {
    this.#receivedCount++;
    this.#recvWindow.add(monoMs, bytes);
    if (this.#isLeader) for (const follower of this.#followers.values()) follower.forget();
    this.#isLeader = false;
    if (leader === this.#leaderId) return;
    this.#leaderId = leader;
    this.#leaderSinceWallMs = wallMs;
  }

  /** For `handleLeaderStats`, on the leader. */
  get followers(): ReadonlyMap<bigint, FollowerStats> {
    return this.#followers;
  }

  /** For `handleSelfStats`. */
  self(monoMs: number, wallMs: number): SelfStats {
    return {
      name: this.#name,
      id: this.#memberId,
      state: this.#isLeader ? "StateLeader" : "StateFollower",
      startTimeNs: nanoseconds(this.#startWallMs),
      leaderId: this.#leaderId,
      leaderStartTimeNs: nanoseconds(this.#leaderSinceWallMs),
      nowNs: nanoseconds(wallMs),
      recvAppendRequests: this.#receivedCount,
      recvRate: this.#recvWindow.rate(monoMs),
      sendAppendRequests: this.#sentCount,
      sendRate: this.#sendWindow.rate(monoMs),
    };
  }
}

/** With microsecond precision, the limit of current Unix milliseconds in a double. */
function nanoseconds(ms: number): bigint {
  return BigInt(Math.round(ms * 1000)) * 1000n;
}
