import { ClusterClock } from "../cluster/cluster-clock.js";
import type { FormatLevels } from "../cluster/format.js";
import { LATE_TTL_LEVEL, VERSIONED_LEVEL } from "../cluster/format.js";
import { readClusterPath } from "../cluster/paths.js";
import type { ClockMark } from "../cluster/snapshot-head.js";
import { assert } from "../lib/assert.js";
import type { Logger } from "../log/logger.js";
import type { MetricCells } from "../metrics/cells.js";
import { cellOf } from "../metrics/families.js";
import { type Entry, NONE } from "../raft/entry.js";
import type { Raft } from "../raft/raft.js";
import { type Command, CommandOp, syncCommand } from "../store/command.js";

/** Interval of the SYNC entries by which the leader expires nodes. */
const SYNC_MS = 500;
/**
 * Interval of SYNC entries when nothing can expire. Bounds clock drift: 600 s at 500 ppm is 0.3 s.
 */
const IDLE_SYNC_MS = 600_000;
/**
 * A new leader that knows the time proposes a SYNC at once. After this long without one, followers
 * assume that it does not know the time.
 */
const FOLLOWER_WAIT_MS = 200;
/**
 * How long, beyond two election timeouts, leaders without the time wait for a member that has it.
 */
const RESTART_WAIT_MS = 1000;
/**
 * How much of that at least, beyond an election timeout, since a majority has an entry of its term:
 * followers that have the time propose it by then, also over slow links.
 */
const TERM_WAIT_MS = 2 * FOLLOWER_WAIT_MS;
/** Warn when the wall clock's offset has changed by more than this, at most once per WARN_MS. */
const OFFSET_MS_MAX = 1000;
const WARN_MS = 60_000;

/**
 * A restarted member that applies a SYNC so long after its own proposal asks for another one: the
 * clock that it would learn may be behind by as much.
 */
const STALE_MS_MAX = 2000;
/** On a link that is always as slow, the last one is taken. */
const STALE_MAX = 5;
const NO_ENTRY = { index: Number.POSITIVE_INFINITY, monoMs: Number.NEGATIVE_INFINITY };

const OFFSET_SECONDS = cellOf("clockOffset");

export interface ClusterTimePorts {
  readonly raft: Raft;
  readonly formats: FormatLevels;
  readonly metrics: MetricCells;
  readonly log: Logger;
  readonly electionMs: number;
  /** There is no log yet, so no time was ever agreed on and there is nobody to wait for. */
  readonly isFounding: boolean;
  /** Proposes one of the member's own commands; false if that is impossible now. */
  readonly propose: (command: Command) => boolean;
  /** Called once, when this member learns the time. */
  readonly onKnown: () => void;
  /** The SYNC after this member's publication was stale: it publishes itself again. */
  readonly onStale: () => void;
}

/**
 * Replicates the cluster's clock (cluster/cluster-clock.ts) in SYNC entries of the log.
 *
 *   1. A leader that knows the time proposes a SYNC at the start of its term, after a restarted
 *      member has published itself, regularly while something can expire, and otherwise every ten
 *      minutes.
 *   2. A restarted member learns the time from a SYNC entry after an entry of its own, as that SYNC
 *      is not older than its own proposal, if that was not long ago. A leader without the time
 *      learns it from any SYNC of its term: followers that know the time propose one.
 *   3. If nobody knows it, because all have restarted or are unreachable, the leader restarts the
 *      clock from its wall clock, but not before the latest time in its log. Members that knew
 *      another time drop it.
 */
export class ClusterTime {
  readonly clock: ClusterClock;
  readonly #ports: ClusterTimePorts;
  /** Term and index of the last SYNC entry. Replicated. */
  #lastSync: { readonly term: number; readonly index: number };
  /**
   * The latest time in the log. Replicated from LATE_TTL_LEVEL on; older snapshots lack it. The
   * clock's floor may be later, by what this member has heard before.
   */
  #latestMs: number;
  /** Index of the last entry in which a member published itself. */
  #publishedIndex = 0;
  /** Members that have published themselves in that term; each does so once per start. */
  #published: { readonly term: number; readonly ids: Set<bigint> } = { term: 0, ids: new Set() };
  /** The applied entry that this member proposed last since it started, and when. */
  #own = NO_ENTRY;
  /** SYNC entries that came too late to learn the time from. */
  #stale = 0;
  #term = 0;
  #termMonoMs = 0;
  /** Since when an entry of the term is applied here. */
  #appliedMonoMs = Number.POSITIVE_INFINITY;
  /**
   * How long this member led without the time: over all such terms, as each is short on shaky
   * links, and until when it was counted in the last of them.
   */
  #waited = { ms: 0, term: 0, monoMs: 0 };
  /** Last term in which this leader proposed to restart the clock: once is enough. */
  #startedTerm = 0;
  #nextMonoMs = 0;
  #lastSyncMonoMs = 0;
  #warnedOffsetMs = 0;
  #nextWarnMonoMs = Number.NEGATIVE_INFINITY;

  constructor({ ms, term, index }: ClockMark, ports: ClusterTimePorts) {
    this.clock = new ClusterClock(ms);
    this.#lastSync = { term, index };
    this.#latestMs = ms;
    this.#ports = ports;
  }

  /** For a snapshot. */
  get mark(): ClockMark {
    const isAgreed = this.#ports.formats.level >= LATE_TTL_LEVEL;
    return { ms: isAgreed ? this.#latestMs : this.clock.floorMs, ...this.#lastSync };
  }

  /** A snapshot from the leader replaced the log. */
  restore({ ms, term, index }: ClockMark, monoMs: number): void {
    this.#lastSync = { term, index };
    this.#latestMs = ms;
    this.#hear(index, term, ms, false, monoMs);
  }

  /**
   * The level rises to LATE_TTL_LEVEL: earlier times do not count, as not all members have them.
   */
  countFrom(timeMs: number): void {
    assert(timeMs >= 0, "times count from 1970");
    this.#latestMs = timeMs;
  }

  /**
   * Called before a command is applied.
   *
   * @param ownMs when this member proposed it; undefined if it did not since it started
   * @returns false if the command is void: a clock restart after another SYNC of the same term
   */
  applies(
    { index, term }: Entry,
    command: Command,
    ownMs: number | undefined,
    monoMs: number,
  ): boolean {
    this.#assertTerms();
    if (ownMs !== undefined && ownMs > this.#own.monoMs) this.#own = { index, monoMs: ownMs };
    if (command.op === CommandOp.sync) {
      // Older builds apply every SYNC, so none is void while the level allows such members.
      const mayBeVoid = this.#ports.formats.level >= VERSIONED_LEVEL;
      if (mayBeVoid && command.isRefresh && this.#lastSync.term === term) return false;
      assert(index > this.#lastSync.index, "SYNC entries are applied in log order");
      assert(term >= this.#lastSync.term, "terms never decrease along the log");
      this.#lastSync = { term, index };
      this.#lastSyncMonoMs = monoMs;
      this.#latestMs = Math.max(this.#latestMs, command.timeMs);
      this.#hear(index, term, command.timeMs, command.isRefresh, monoMs);
    } else if (command.op === CommandOp.set) {
      const place = readClusterPath(command.path);
      if (place?.kind === "attributes") this.#onPublished(index, term, place.id);
    }
    return true;
  }

  /**
   * A command to apply, whose proposer's clock may be behind a time in the log before it: it
   * lagged, or the clock was restarted since. Its TTL then counts from that time, so that it is not
   * shorter than it was asked for. The same on all members.
   */
  dated(command: Command): Command {
    const timeMs = this.#latestMs;
    if (command.timeMs >= timeMs) return command;
    const expirationMs = command.expirationMs + timeMs - command.timeMs;
    return { ...command, timeMs, expirationMs };
  }

  /** Called periodically. @param appliedTerm of the last applied entry */
  tick(appliedTerm: number, expiringNodes: number, wallMs: number, monoMs: number): void {
    this.#showOffset(wallMs, monoMs);
    const { raft } = this.#ports;
    assert(appliedTerm <= raft.term, "no applied entry has a later term");
    this.#assertTerms();
    this.#countWait(monoMs);
    if (raft.lead === NONE) return;
    if (this.#term !== raft.term) {
      this.#term = raft.term;
      this.#termMonoMs = monoMs;
      this.#appliedMonoMs = Number.POSITIVE_INFINITY;
      this.#nextMonoMs = 0;
    }
    // Wait until an entry of this term is applied: entries before it may have restarted the clock,
    // which makes the time known here obsolete.
    if (appliedTerm !== raft.term) return;
    this.#appliedMonoMs = Math.min(this.#appliedMonoMs, monoMs);
    if (monoMs < this.#nextMonoMs) return;
    const command = raft.isLeader
      ? this.#leaderCommand(expiringNodes, wallMs, monoMs)
      : this.#followerCommand(wallMs, monoMs);
    if (command === undefined) return;
    if (!this.#ports.propose(command)) return;
    this.#nextMonoMs = monoMs + SYNC_MS;
    if (!command.isRefresh) return;
    this.#startedTerm = raft.term;
    const startMs = command.timeMs;
    this.#ports.log.info({ startMs }, "starting the cluster clock from this member's wall clock");
  }

  #leaderCommand(expiringNodes: number, wallMs: number, monoMs: number): Command | undefined {
    const { raft } = this.#ports;
    const { term, index } = this.#lastSync;
    assert(raft.isLeader && term <= raft.term, "a leader proposes the time of its own term");
    if (this.clock.isKnown) {
      const isOwed = term !== raft.term || index < this.#publishedIndex;
      const isRecent = monoMs - this.#lastSyncMonoMs < IDLE_SYNC_MS;
      if (!isOwed && expiringNodes === 0 && isRecent) return undefined;
      return syncCommand(this.clock.read(wallMs, monoMs));
    }
    // A leader's log keeps what was proposed in its term. At level 1 a second restart would not be
    // void, and the clock would jump if the wall clock did.
    if (this.#startedTerm === raft.term || !this.#mayRestart(monoMs)) return undefined;
    const startMs = this.clock.read(wallMs, monoMs);
    assert(startMs >= this.clock.floorMs, "the clock does not start before a time in the log");
    return syncCommand(startMs, true);
  }

  #countWait(monoMs: number): void {
    const { isLeader, term } = this.#ports.raft;
    const { ms, term: before, monoMs: sinceMs } = this.#waited;
    if (!isLeader || this.clock.isKnown) this.#waited = { ms, term: 0, monoMs };
    else this.#waited = { ms: before === term ? ms + monoMs - sinceMs : ms, term, monoMs };
  }

  /** No other member knows the time, or none has proposed it within the wait. */
  #mayRestart(monoMs: number): boolean {
    const { raft, electionMs, isFounding } = this.#ports;
    assert(!this.clock.isKnown, "a clock that is known is not restarted");
    if (isFounding && this.#lastSync.term === 0) return true; // No time was ever agreed on.
    const isLong = this.#waited.ms > 2 * electionMs + RESTART_WAIT_MS;
    if (isLong && monoMs - this.#appliedMonoMs > electionMs + TERM_WAIT_MS) return true;
    const { term, ids } = this.#published;
    return raft.conf.voters.every((id) => id === raft.id || (term === raft.term && ids.has(id)));
  }

  #followerCommand(wallMs: number, monoMs: number): Command | undefined {
    assert(!this.#ports.raft.isLeader, "a leader proposes the time by its own rules");
    if (!this.clock.isKnown || this.#lastSync.term === this.#ports.raft.term) return undefined;
    if (monoMs - this.#termMonoMs < FOLLOWER_WAIT_MS) return undefined;
    return syncCommand(this.clock.read(wallMs, monoMs));
  }

  /**
   * A SYNC is fresh if it comes after a recent entry of our own, or if we lead its term (rule 2).
   * Others may be old: while the clock is unknown, they only raise its floor.
   */
  #hear(index: number, term: number, timeMs: number, isStart: boolean, monoMs: number): void {
    const { raft } = this.#ports;
    const { isKnown } = this.clock;
    const isFresh = (raft.isLeader && raft.term === term) || this.#isAfterOwn(index, monoMs);
    if (!isKnown && !isFresh) this.clock.mark(timeMs);
    else if (isStart) this.clock.restart(timeMs, monoMs);
    else this.clock.hear(timeMs, monoMs);
    assert(this.clock.floorMs >= timeMs, "the clock does not go back behind a time in the log");
    assert(!isKnown || this.clock.isKnown, "a member does not forget the time while it runs");
    if (!isKnown && this.clock.isKnown) this.#ports.onKnown();
  }

  #isAfterOwn(index: number, monoMs: number): boolean {
    if (index <= this.#own.index) return false;
    if (monoMs - this.#own.monoMs <= STALE_MS_MAX || this.#stale === STALE_MAX) return true;
    if (!this.clock.isKnown) {
      this.#stale++;
      this.#own = NO_ENTRY; // The SYNC entries in flight are no fresher.
      this.#ports.onStale();
    }
    return false;
  }

  #onPublished(index: number, term: number, id: bigint): void {
    assert(index > this.#publishedIndex, "entries are applied in log order");
    this.#publishedIndex = index;
    this.#nextMonoMs = 0;
    if (this.#published.term !== term) this.#published = { term, ids: new Set() };
    this.#published.ids.add(id);
  }

  #assertTerms(): void {
    const { term } = this.#ports.raft;
    assert(this.#term <= term, "the term never decreases");
    assert(this.#lastSync.term <= term, "no SYNC entry has a later term");
    assert(this.#published.term <= term, "no member has published itself in a later term");
    assert(this.#startedTerm <= term, "the clock is not restarted in a later term");
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
        "this member's wall clock differs from the cluster's clock; TTLs follow the cluster's",
      );
    }
  }
}
