import type { MemberLimits } from "#ringd/member/limits.js";
import type { StoreLimits } from "#ringd/process/heap.js";
import type { RaftLimits } from "#ringd/raft/options.js";
import type { Prng } from "../support/prng.js";

/**
 * The possible faults of a run, and their rates. Each seed draws which faults exist at all. A
 * `...Ms` of an event is the mean time between two, in simulated milliseconds; 0 is never.
 */
export interface MemberFaults {
  readonly founders: number;
  readonly durationMs: number;

  // Members. One victim in so many is the leader; 0: it is anybody.
  readonly leaderOneIn: number;
  /** One leader in so many is isolated soon after its election; 0: none. */
  readonly cutLeaderOneIn: number;
  readonly crashMs: number;
  /** One crash in so many loses unsynced sectors; 0: none. */
  readonly powerCutOneIn: number;
  readonly downMsMax: number;
  readonly stopMs: number;
  readonly pauseMs: number;
  readonly pauseMsMax: number;
  readonly wallJumpMs: number;
  /** Limit of wall clocks' jumps, and of their initial offsets. */
  readonly wallJumpMsMax: number;
  /**
   * One initial member in so many starts as a build that supports format 1 only, until a restart;
   * 0: none.
   */
  readonly oldOneIn: number;

  // Threads: one turn in so many is skipped; 0: none.
  readonly skipTurnOneIn: number;
  readonly slowDiskOneIn: number;
  readonly ringBytes: number;
  readonly frontends: number;

  // Disks.
  readonly fullDiskMs: number;
  readonly failedSyncMs: number;
  /** A snapshot from another member cannot be read. */
  readonly failedReadMs: number;
  /** One start in so many loses power, or cannot read its snapshot to the end; 0: none. */
  readonly startFaultOneIn: number;
  readonly segmentBytes: number;
  readonly zeroAheadBytes: number;

  // The network: one message in so many is lost or repeated.
  readonly loseOneIn: number;
  readonly repeatOneIn: number;
  readonly delayMsMax: number;
  readonly isReordering: boolean;
  readonly partitionMs: number;
  readonly isOneWay: boolean;

  // Logs and membership.
  readonly snapshotCount: number;
  readonly catchUpEntries: number;
  readonly eventHistoryMax: number;
  readonly confChangeMs: number;
  readonly isPreVote: boolean;
  readonly heartbeatMs: number;
  readonly electionMs: number;

  /** Sometimes tight, so that a single message becomes many. */
  readonly raftLimits: Partial<RaftLimits>;
  /** What clients reach while things go wrong; without limit at the end. */
  readonly memberLimits: Partial<MemberLimits>;
  /** Default: none. */
  readonly storeLimits?: StoreLimits;

  // Clients.
  readonly clients: number;
  readonly watchers: number;
  readonly keys: number;
  readonly thinkMsMax: number;
  /** Longest TTL of nodes, seconds. The end of a run waits for them. */
  readonly longTtl: number;
}

/** @param later draws faults added later, so that older seeds still make the same runs */
export function drawFaults(prng: Prng, later: Prng): MemberFaults {
  const maybe = (least: number, most: number) =>
    prng.oneIn(2) ? 0 : least + prng.below(most - least);
  const heartbeatMs = prng.pick([20, 50, 100]);
  return {
    founders: prng.pick([1, 2, 3, 3, 3, 4, 5]),
    durationMs: 6000 + prng.below(16_000),
    leaderOneIn: prng.pick([0, 2]),
    cutLeaderOneIn: prng.pick([0, 0, 2, 4]),
    crashMs: maybe(700, 6000),
    powerCutOneIn: prng.pick([0, 1, 2]),
    downMsMax: prng.pick([100, 1000, 5000]),
    stopMs: maybe(3000, 10_000),
    pauseMs: maybe(1000, 6000),
    pauseMsMax: prng.pick([300, 3000]),
    wallJumpMs: maybe(1000, 8000),
    skipTurnOneIn: prng.pick([0, 2, 4]),
    slowDiskOneIn: prng.pick([0, 0, 2]),
    ringBytes: prng.pick([4096, 16_384, 65_536, 65_536]),
    frontends: prng.pick([1, 1, 2]),
    fullDiskMs: prng.oneIn(2) ? 0 : maybe(2000, 10_000),
    failedSyncMs: prng.oneIn(2) ? 0 : maybe(3000, 10_000),
    segmentBytes: prng.pick([2048, 8192, 40_000]),
    zeroAheadBytes: prng.pick([512, 4096, 16_384]),
    loseOneIn: maybe(3, 60),
    repeatOneIn: maybe(3, 60),
    delayMsMax: prng.pick([1, 5, 50, 400]),
    isReordering: prng.oneIn(2),
    partitionMs: maybe(1000, 6000),
    isOneWay: prng.oneIn(2),
    snapshotCount: prng.pick([5, 20, 60, 1_000_000]),
    catchUpEntries: prng.pick([0, 3, 20]),
    eventHistoryMax: prng.pick([20, 100, 1000]),
    confChangeMs: maybe(1000, 6000),
    isPreVote: !prng.oneIn(5),
    heartbeatMs,
    electionMs: heartbeatMs * prng.pick([5, 10]),
    raftLimits: prng.oneIn(2) ? {} : drawLimits(prng),
    clients: 1 + prng.below(4),
    watchers: prng.below(4),
    keys: 1 + prng.below(3),
    thinkMsMax: prng.pick([50, 200, 600]),
    failedReadMs: maybe(1000, 5000),
    wallJumpMsMax: prng.pick([5000, 3_600_000]),
    oldOneIn: prng.pick([0, 0, 0, 1, 2]),
    longTtl: prng.pick([4, 4, 4, 20]),
    startFaultOneIn: later.pick([0, 0, 2, 5]),
    memberLimits: later.oneIn(2) ? {} : drawMemberLimits(later),
  };
}

function drawMemberLimits(prng: Prng): Partial<MemberLimits> {
  return {
    watchesMax: 1 + prng.below(3),
    proposalsMax: 2 + prng.below(8),
    proposalBytesMax: prng.pick([500, 5000]),
    parkedMax: 1 + prng.below(3),
    responseBytesMax: prng.pick([0, 1000, 10_000]),
    batchResponseBytesMax: prng.pick([0, 1000]),
  };
}

function drawLimits(prng: Prng): Partial<RaftLimits> {
  return {
    inflightMessagesMax: 1 + prng.below(4),
    inflightBytesMax: prng.pick([64, 4096]),
    appendEntriesMax: 1 + prng.below(4),
    appendBytesMax: prng.pick([32, 4096]),
    committedEntriesMax: 1 + prng.below(8),
    committedBytesMax: prng.pick([64, 4096]),
    uncommittedEntriesMax: 10 + prng.below(40),
    forwardProposalsMax: 4 + prng.below(20),
    promoteLagMax: prng.pick([0, 5, 4096]),
    packEntries: 1 + prng.below(8),
  };
}
