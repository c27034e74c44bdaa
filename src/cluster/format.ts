import { RingdError } from "../lib/errors.js";

/**
 * Format level of a cluster: what its members may write into logs, snapshots and messages.
 *
 *   level  read by  what it brings
 *   1      0.1.0    entries without a version; snapshots of version 1
 *   2      0.2.0    entries with a version and a state machine; snapshots of version 2, whose
 *                   head names the machines and carries level and cluster time; the cluster
 *                   clock; `forwardOnce`
 *
 * A member says in every peer hello the newest level it knows (hello.ts). Once all members,
 * learners too, are connected and known to know a level, the leader raises the cluster to it by a
 * log entry, and only what comes after that entry is written in the new formats. A level never
 * falls. A message to one member (`forwardOnce`) may be new as soon as that member knows it.
 */
export const FORMAT_LEVEL = 2;
/**
 * The level from which entries carry a version and a machine, and a leader without the time may
 * start it.
 */
export const VERSIONED_LEVEL = 2;
/** A member that knows this level takes a `forwardOnce`. */
export const FORWARD_ONCE_LEVEL = 2;
const READ_BY: Readonly<Record<number, string>> = { 1: "0.1.0", 2: "0.2.0" };

/** The first version of ringd that reads a level of its own time or before. */
export function readBy(level: number): string {
  return READ_BY[level] ?? "";
}

/** Data, or a cluster, that only a newer ringd understands. */
export class NewerFormatError extends RingdError {
  override readonly name = "NewerFormatError";
  readonly code = "FORMAT_NEWER";

  /**
   * @param what "the log", with an article
   * @param version of ringd that reads it; "" if the data does not say
   */
  constructor(what: string, level: number, version: string, known: number) {
    const reader = version === "" ? "a newer ringd" : `ringd ${version} or later`;
    super(
      `Cannot use ${what}: it has format ${level}, which ${reader} reads; this ringd reads formats up to ${known}`,
    );
  }
}

/** The level of the cluster, and which one each connected member knows. */
export class FormatLevels {
  /** The newest that this member knows. */
  readonly newest: number;
  readonly #known = new Map<bigint, number>();
  #level = 1;

  constructor(newest: number) {
    this.newest = newest;
  }

  /** Replicated: the same on all members at one index. */
  get level(): number {
    return this.#level;
  }

  /**
   * An entry of the log, or a snapshot, says so.
   *
   * @param version of ringd that reads it. @returns whether the level rose. @throws
   *   NewerFormatError
   */
  raise(level: number, version: string, what: string): boolean {
    if (level > this.newest) throw new NewerFormatError(what, level, version, this.newest);
    if (level <= this.#level) return false;
    this.#level = level;
    return true;
  }

  /** A stream to the member is open, and it knows the levels up to this one. */
  connected(id: bigint, level: number): void {
    this.#known.set(id, level);
  }

  /** It may come back as another build. */
  disconnected(id: bigint): void {
    this.#known.delete(id);
  }

  /** Connected, and of a build that knows the first level only. */
  isOld(id: bigint): boolean {
    return this.#known.get(id) === 1;
  }

  /** The level that all of these members know, if it is above the cluster's. */
  raisable(selfId: bigint, members: readonly bigint[]): number | undefined {
    if (this.#level === this.newest || members.length === 0) return undefined;
    let level = this.newest;
    for (const id of members) {
      if (id !== selfId) level = Math.min(level, this.#known.get(id) ?? 1);
    }
    return level > this.#level ? level : undefined;
  }
}
