import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import type { ResourceLimits } from "node:worker_threads";
import { memoryBytes } from "./memory.js";

/**
 * Share of the memory that the store's heap may take, where the other threads need less than the
 * rest.
 */
const HEAP_SHARE = 0.8;
/**
 * For the rings, buffers, log entries and code of all threads: with 192 a group of 512 MB had 6 MB
 * left when full.
 */
const OTHERS_BYTES = 256 * 2 ** 20;
/** A core with less cannot begin. */
const CORE_OLD_MB_MIN = 64;
/**
 * Share for each of the other threads: none of them keeps what comes by, but for its own bounded
 * buffers.
 */
const OTHER_SHARE = 1 / 16;
const OTHER_OLD_MB_MIN = 64;
const OTHER_OLD_MB_MAX = 2048;
/**
 * Shares of the core's heap: beyond the quota nothing is added, and beyond the other nothing is
 * taken in.
 */
const QUOTA_SHARE = 0.7;
const FILL_SHARE = 0.9;
/** Share of the quota for what only the event history keeps. */
const HISTORY_SHARE = 1 / 8;
/** For log entries behind a snapshot, and beside a store that is small. */
const LOG_BYTES_MAX = 256 * 2 ** 20;
/**
 * Room for short-lived objects on the core. Measured with 256 connections writing: 64 costs 3
 * microseconds more per write than 16 (the processor's caches no longer hold it), 4 costs as much.
 */
const CORE_YOUNG_MB = 16;
/**
 * For the entries of a long log as it is read: 3 cost twice the time for garbage. After that this
 * thread makes next to no objects, and gives the room back.
 */
const WAL_YOUNG_MB = 12;

/**
 * How much the old objects of a thread may grow before V8 looks for garbage among them, in percent
 * of what was alive the last time. Left to itself V8 lets a store of 100 MB grow to 250 MB.
 * Measured with 200,000 keys: a fifth less resident memory, and no difference in CPU per write that
 * could be seen.
 */
const HEAP_GROWTH_PERCENT = 40;

/** @param memory that the process may take, in bytes */
export function heapLimitsOf(thread: string, memory = memoryBytes()): ResourceLimits {
  const otherMb = Math.floor((memory * OTHER_SHARE) / 2 ** 20);
  const maxOldGenerationSizeMb = Math.min(Math.max(otherMb, OTHER_OLD_MB_MIN), OTHER_OLD_MB_MAX);
  if (thread === "wal") return { maxOldGenerationSizeMb, maxYoungGenerationSizeMb: WAL_YOUNG_MB };
  if (thread !== "core") return { maxOldGenerationSizeMb };
  const coreBytes = Math.min(memory * HEAP_SHARE, memory - OTHERS_BYTES);
  return {
    maxOldGenerationSizeMb: Math.max(Math.floor(coreBytes / 2 ** 20), CORE_OLD_MB_MIN),
    maxYoungGenerationSizeMb: CORE_YOUNG_MB,
  };
}

/** How large the store of a core may become; all Infinity where nothing bounds it. */
export interface StoreLimits {
  /** For nodes and history, as store/size.ts counts them. */
  readonly quotaBytes: number;
  /** With all that is under way. */
  readonly heapBytes: number;
  /** For what only the event history keeps. */
  readonly historyBytes: number;
  /** For log entries in memory: a snapshot is due when they take more, and more than the store. */
  readonly logBytes: number;
}

const { POSITIVE_INFINITY: UNBOUNDED } = Number;
export const NO_LIMITS: StoreLimits = {
  quotaBytes: UNBOUNDED,
  heapBytes: UNBOUNDED,
  historyBytes: UNBOUNDED,
  logBytes: UNBOUNDED,
};

/**
 * @param quotaBytes --quota-backend-bytes: 0 is a share of the heap, a negative number no limit
 * @param heapBytes limit of the core's heap, as V8 has it: flags of the process are above
 *   `heapLimitsOf`
 */
export function storeLimits(quotaBytes: number, heapBytes: number): StoreLimits {
  const old = heapBytes - 3 * CORE_YOUNG_MB * 2 ** 19; // V8 adds room for the young ones.
  const share = Math.floor(old * QUOTA_SHARE);
  const historyBytes = Math.floor(
    (quotaBytes > 0 ? Math.min(quotaBytes, share) : share) * HISTORY_SHARE,
  );
  const logBytes = Math.min(share / 4, LOG_BYTES_MAX);
  if (quotaBytes < 0) return { ...NO_LIMITS, historyBytes, logBytes };
  if (quotaBytes === 0) {
    return { quotaBytes: share, heapBytes: old * FILL_SHARE, historyBytes, logBytes };
  }
  return {
    quotaBytes,
    heapBytes: Math.max(old * FILL_SHARE, (quotaBytes * FILL_SHARE) / QUOTA_SHARE),
    historyBytes,
    logBytes,
  };
}

/**
 * For all threads of the process, once they run: V8 takes compiled code only from a process that
 * had the same flags, so with this one set before, each thread compiles all of Node's own modules
 * anew as it starts (40 ms of CPU). And while a store is loaded, nothing in it is garbage.
 */
export function limitHeapGrowth(): void {
  setFlagsFromString(`--heap-growing-percent=${HEAP_GROWTH_PERCENT}`);
}

/**
 * Collects this thread's garbage at once, for a thread that has made much of it and goes on with
 * making hardly any: V8, which looks for garbage when something is allocated, would keep it for
 * ever. Stops the thread for about half a millisecond per megabyte that is alive. Like
 * `limitHeapGrowth`, it makes threads start slower that start later.
 */
export function collectGarbage(): void {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  collect();
}
