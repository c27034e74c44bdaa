import { ClusterClock } from "../cluster/cluster-clock.js";
import type { FormatLevels } from "../cluster/format.js";
import { VERSIONED_LEVEL } from "../cluster/format.js";
import { readClusterPath } from "../cluster/paths.js";
import type { ClockMark } from "../cluster/snapshot-head.js";
import { assert } from "../lib/assert.js";
import type { Logger } from "../log/logger.js";
import type { MetricCells } from "../metrics/cells.js";
import { cellOf } from "../metrics/families.js";
import { type Entry, NONE } from "../raft/entry.js";
import type { Raft } from "../raft/raft.js";
import { type Command, CommandOp, syncCommand } from "../store/command.js";

/** How often the leader lets nodes expire. */
const SYNC_MS = 500;
/**
 * Or tells the time all the same, so that clocks that drift are never far apart: 600 s at 500 ppm
 * are 0.3 s.
 */
const IDLE_SYNC_MS = 600_000;
/**
 * A new leader that knows the time tells it at once; by then the others take it for one that does
 * not.
 */
const TELL_LEADER_MS = 200;
/**
 * What a leader without the time waits, beyond two election timeouts, for those that may know it.
 */
const ASK_MS = 1000;
/**
 * A wall clock that is off by more is worth a warning: when that changes, and not more often than
 * this.
 */
const OFFSET_MS_MAX = 1000;
const WARN_MS = 60_000;

const OFFSET_SECONDS = cellOf("clockOffset");

export interface ClusterTimePorts {
  readonly raft: Raft;
  readonly formats: FormatLevels;
  readonly metrics: MetricCells;
  readonly log: Logger;
  readonly electionMs: number;
  /** There is no log yet: no time was ever told, and nobody needs to be waited for. */
  readonly isFounding: boolean;
  /** Proposes a command of the member's own; false if that cannot be done now. */
  readonly propose: (command: Command) => boolean;
  /** Once: this member knows the time. */
  readonly onKnown: () => void;
}

/**
 * Keeps the cluster's clock (cluster/cluster-clock.ts) on the log: SYNC entries carry it.
 *
 *   1. A leader that knows the time tells it at the start of its term, whenever a member has
 *      published itself after a start, while something can expire, and else every ten minutes.
 *   2. A member that starts learns it from a SYNC entry behind an entry of its own: that one cannot
 *      be old. A leader that does not know it learns it from any entry of its term: followers that
 *      know it propose it.
 *   3. If none does, because all have restarted or cannot be reached, the leader starts it anew
 *      from its wall clock, but not before the latest time in its log. Whoever knew another time
 *      drops it.
 */
export class ClusterTime {
  readonly clock: ClusterClock;
  readonly #ports: ClusterTimePorts;
  /** Term and index of the last entry that told the time. Replicated. */
  #told: { readonly term: number; readonly index: number };
  /** The last entry by which a member published itself. */
  #publishedIndex = 0;
  /** Members that have published themselves in a term, as they do once after a start. */
  #published: { readonly term: number; readonly ids: Set<bigint> } = { term: 0, ids: new Set() };
  /** The first applied entry that this member proposed since it started. */
  #ownIndex = Number.POSITIVE_INFINITY;
  #term = 0;
  #termMonoMs = 0;
  /** In which this leader last started the clock. */
  #startedTerm = 0;
  #nextMonoMs = 0;
  #toldMonoMs = 0;
  #warnedOffsetMs = 0;
  #nextWarnMonoMs = Number.NEGATIVE_INFINITY;

  constructor({ ms, term, index }: ClockMark, ports: ClusterTimePorts) {
    this.clock = new ClusterClock(ms);
    this.#told = { term, index };
    this.#ports = ports;
  }

  /** For a snapshot. */
  get mark(): ClockMark {
    return { ms: this.clock.floorMs, ...this.#told };
  }

  /** A snapshot from the leader took the place of the log. */
  restore({ ms, term, index }: ClockMark, monoMs: number): void {
    this.#told = { term, index };
    this.#tell(index, term, ms, false, monoMs);
  }

  /**
   * A command is about to be applied.
   *
   * @param isOwn this member proposed it since it started
   * @returns false if it is void: a start of the clock that came after all behind one who knew the
   *   time
   */
  applies({ index, term }: Entry, command: Command, isOwn: boolean, monoMs: number): boolean {
    if (isOwn && index < this.#ownIndex) this.#ownIndex = index;
    if (command.op === CommandOp.sync) {
      // Builds of before apply it, so none is void as long as one of them may be there.
      const mayBeVoid = this.#ports.formats.level >= VERSIONED_LEVEL;
      if (mayBeVoid && command.isRefresh && this.#told.term === term) return false;
      assert(index > this.#told.index, "entries tell the time in their order");
      this.#told = { term, index };
      this.#toldMonoMs = monoMs;
      this.#tell(index, term, command.timeMs, command.isRefresh, monoMs);
    } else if (command.op === CommandOp.set) {
      const place = readClusterPath(command.path);
      if (place?.kind === "attributes") this.#onPublished(index, term, place.id);
    }
    return true;
  }

  /** Now and then. @param appliedTerm of the last entry that was applied */
  tick(appliedTerm: number, expiringNodes: number, wallMs: number, monoMs: number): void {
    this.#showOffset(wallMs, monoMs);
    const { raft } = this.#ports;
    if (raft.lead === NONE) return;
    if (this.#term !== raft.term) {
      this.#term = raft.term;
      this.#termMonoMs = monoMs;
      this.#nextMonoMs = 0;
    }
    // What was committed before may have started the clock anew, and tells a new leader's first
    // word apart from a time that counts no more.
    if (appliedTerm !== raft.term || monoMs < this.#nextMonoMs) return;
    const command = raft.isLeader
      ? this.#leaderSays(expiringNodes, wallMs, monoMs)
      : this.#followerSays(wallMs, monoMs);
    if (command === undefined) return;
    if (this.#ports.propose(command)) this.#nextMonoMs = monoMs + SYNC_MS;
  }

  #leaderSays(expiringNodes: number, wallMs: number, monoMs: number): Command | undefined {
    const { raft } = this.#ports;
    const { term, index } = this.#told;
    if (this.clock.isKnown) {
      const isOwed = term !== raft.term || index < this.#publishedIndex;
      const isRecent = monoMs - this.#toldMonoMs < IDLE_SYNC_MS;
      if (!isOwed && expiringNodes === 0 && isRecent) return undefined;
      return syncCommand(this.clock.read(wallMs, monoMs));
    }
    if (!this.#isAlone(monoMs)) return undefined;
    const startMs = this.clock.read(wallMs, monoMs);
    if (this.#startedTerm !== raft.term) {
      this.#ports.log.info({ startMs }, "starting the cluster clock from this member's wall clock");
    }
    this.#startedTerm = raft.term;
    return syncCommand(startMs, true);
  }

  /** Nobody else can know the time, or nobody says so. */
  #isAlone(monoMs: number): boolean {
    const { raft, electionMs, isFounding } = this.#ports;
    if (isFounding && this.#told.term === 0) return true; // Nobody has ever told any.
    if (monoMs - this.#termMonoMs > 2 * electionMs + ASK_MS) return true;
    const { term, ids } = this.#published;
    return raft.conf.voters.every((id) => id === raft.id || (term === raft.term && ids.has(id)));
  }

  #followerSays(wallMs: number, monoMs: number): Command | undefined {
    if (!this.clock.isKnown || this.#told.term === this.#ports.raft.term) return undefined;
    if (monoMs - this.#termMonoMs < TELL_LEADER_MS) return undefined;
    return syncCommand(this.clock.read(wallMs, monoMs));
  }

  #tell(index: number, term: number, timeMs: number, isStart: boolean, monoMs: number): void {
    const { raft } = this.#ports;
    const { isKnown } = this.clock;
    const isFresh = index > this.#ownIndex || (raft.isLeader && raft.term === term);
    if (!isKnown && !isFresh) this.clock.mark(timeMs);
    else if (isStart) this.clock.restart(timeMs, monoMs);
    else this.clock.hear(timeMs, monoMs);
    if (!isKnown && this.clock.isKnown) this.#ports.onKnown();
  }

  #onPublished(index: number, term: number, id: bigint): void {
    this.#publishedIndex = index;
    this.#nextMonoMs = 0;
    if (this.#published.term !== term) this.#published = { term, ids: new Set() };
    this.#published.ids.add(id);
  }

  #showOffset(wallMs: number, monoMs: number): void {
    if (!this.clock.isKnown) return;
    const offsetMs = wallMs - this.clock.read(wallMs, monoMs);
    this.#ports.metrics.set(OFFSET_SECONDS, offsetMs / 1000);
    if (Math.abs(offsetMs - this.#warnedOffsetMs) <= OFFSET_MS_MAX) return;
    if (monoMs < this.#nextWarnMonoMs) return;
    this.#nextWarnMonoMs = monoMs + WARN_MS;
    const isWell = Math.abs(offsetMs) <= OFFSET_MS_MAX;
    this.#warnedOffsetMs = isWell ? 0 : offsetMs;
    const offset = { offsetSeconds: offsetMs / 1000 };
    if (isWell)
      this.#ports.log.info(offset, "this member's wall clock agrees with the cluster's clock");
    else {
      this.#ports.log.warn(
        offset,
        "this member's wall clock is off from the cluster's clock; TTLs go by the cluster's",
      );
    }
  }
}
