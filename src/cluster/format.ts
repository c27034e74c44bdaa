import { RingdError } from "../lib/errors.js";

/**
 * Format level of a cluster: the formats that its members may write to logs, snapshots and
 * messages.
 *
 *   level  read by  adds
 *   1      0.1.0    entries without a version; snapshots of version 1
 *   2      0.2.0    entries with a version and a state machine; snapshots of version 2, whose
 *                   head names the machines and carries level and cluster time; the cluster
 *                   clock; `forwardOnce`
 *   3      0.3.0    nothing; TTLs count from the latest time in the log before their entry,
 *                   of those since the entry that raised the level
 *   4      0.4.0    membership changes that add a lasting learner, whose attributes say so
 *
 * Every peer hello contains the newest level its member supports (hello.ts). Once all members,
 * learners too, are connected and support a level, the leader raises the cluster to it by a log
 * entry, and only data after that entry uses the new formats. The level never falls. A message to a
 * single member (`forwardOnce`) needs only that member's support.
 */
export const FORMAT_LEVEL = 4;
/**
 * From this level on, entries have a version and a machine, and a leader without the time may
 * restart the clock.
 */
export const VERSIONED_LEVEL = 2;
/** From this level on, a TTL set by a clock that is behind the log's counts from the log's. */
export const LATE_TTL_LEVEL = 3;
/** From this level on, a member may be added that is a learner until it is promoted. */
export const LEARNER_LEVEL = 4;
/** Members that support this level accept `forwardOnce`. */
export const FORWARD_ONCE_LEVEL = 2;
const READ_BY: Readonly<Record<number, string>> = {
  1: "0.1.0",
  2: "0.2.0",
  3: "0.3.0",
  4: "0.4.0",
};

/** First ringd version that reads a level; "" for levels unknown to this build. */
export function readBy(level: number): string {
  return READ_BY[level] ?? "";
}

/** Data or a cluster needs a newer ringd. */
export class NewerFormatError extends RingdError {
  override readonly name = "NewerFormatError";
  readonly code = "FORMAT_NEWER";

  /**
   * @param what "the log", with an article
   * @param version first ringd version that reads it; "" if unknown
   */
  constructor(what: string, level: number, version: string, known: number) {
    const reader = version === "" ? "a newer ringd" : `ringd ${version} or later`;
    super(
      `Cannot use ${what}: it has format ${level}, which ${reader} reads; this ringd reads formats up to ${known}`,
    );
  }
}

/** The cluster's level, and the newest level supported by each connected member. */
export class FormatLevels {
  /** Newest level this member supports. */
  readonly newest: number;
  readonly #known = new Map<bigint, number>();
  #level = 1;

  constructor(newest: number) {
    this.newest = newest;
  }

  /** Replicated: the same on all members at the same index. */
  get level(): number {
    return this.#level;
  }

  /**
   * A log entry or snapshot sets the level.
   *
   * @param version first ringd version that reads it
   * @returns whether the level rose
   * @throws NewerFormatError
   */
  raise(level: number, version: string, what: string): boolean {
    if (level > this.newest) throw new NewerFormatError(what, level, version, this.newest);
    if (level <= this.#level) return false;
    this.#level = level;
    return true;
  }

  /** A stream to the member opened. @param level newest level it supports */
  connected(id: bigint, level: number): void {
    this.#known.set(id, level);
  }

  /** Forgets its level, as it may come back as another build. */
  disconnected(id: bigint): void {
    this.#known.delete(id);
  }

  /** Whether the member is connected and supports only level 1. */
  isOld(id: bigint): boolean {
    return this.#known.get(id) === 1;
  }

  /** The newest level all these members support, if it is above the cluster's. */
  raisable(selfId: bigint, members: readonly bigint[]): number | undefined {
    if (this.#level === this.newest || members.length === 0) return undefined;
    let level = this.newest;
    for (const id of members) {
      if (id !== selfId) level = Math.min(level, this.#known.get(id) ?? 1);
    }
    return level > this.#level ? level : undefined;
  }
}
