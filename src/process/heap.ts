import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import type { ResourceLimits } from "node:worker_threads";
import { memoryBytes } from "./memory.js";

/** The core's share of memory, if the rest is enough for the other threads. */
const HEAP_SHARE = 0.8;
/**
 * Reserved for rings, buffers, log entries and code of all threads: with 192 MiB, a full 512 MB
 * cgroup had 6 MB left.
 */
const OTHERS_BYTES = 256 * 2 ** 20;
/** The core does not start with less. */
const CORE_OLD_MB_MIN = 64;
/** Share of each other thread: these keep only bounded buffers. */
const OTHER_SHARE = 1 / 16;
const OTHER_OLD_MB_MIN = 64;
const OTHER_OLD_MB_MAX = 2048;
/**
 * Shares of the core's heap: above the quota, writes that add are rejected; above the other, all
 * requests are.
 */
const QUOTA_SHARE = 0.7;
const FILL_SHARE = 0.9;
/** Share of the quota for values that only the event history still holds. */
const HISTORY_SHARE = 1 / 8;
/** Limit of log entries in memory while the store is small. */
const LOG_BYTES_MAX = 256 * 2 ** 20;
/**
 * Young generation of the core. With 256 connections writing, 64 cost 3 us more per write than 16
 * (beyond the CPU's caches), and so did 4.
 */
const CORE_YOUNG_MB = 16;
/**
 * For replaying a long log: 3 doubled the time of collection. Afterwards the thread allocates next
 * to nothing, and gives the memory back.
 */
const WAL_YOUNG_MB = 12;

/**
 * Growth of a thread's old generation that triggers V8's next collection, percent of what survived
 * the last. By default a store of 100 MB grows to 250 MB. With 200,000 keys this saved a fifth of
 * resident memory, with no measurable CPU per write.
 */
const HEAP_GROWTH_PERCENT = 40;

/**
 * A thread collects its young generation alone. Each has a core of its own to work on, and little
 * survives, so that helpers cost more to wake than they do: 1.5 of 29 us per write with 256
 * connections. Where much survives, as with new keys only, two busy cores collected no more slowly
 * (median 10 ms instead of 12).
 */
const ALONE = ["--no-parallel-scavenge", "--no-concurrent-array-buffer-sweeping"];

/** @param memory available to the process, bytes */
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

/** Memory limits of the store; Infinity where there is none. */
export interface StoreLimits {
  /** For nodes and event history, as store/size.ts counts them. */
  readonly quotaBytes: number;
  /** Of the whole heap, requests in flight included. */
  readonly heapBytes: number;
  /** For values that only the event history still holds. */
  readonly historyBytes: number;
  /** For log entries in memory: a snapshot is due when they exceed both this and the store. */
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
 * @param heapBytes V8's limit of the core's heap, as process flags override `heapLimitsOf`
 */
export function storeLimits(quotaBytes: number, heapBytes: number): StoreLimits {
  const old = heapBytes - 3 * CORE_YOUNG_MB * 2 ** 19; // V8 adds the young generation.
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
 * Applies to all threads; call it once they run. V8 reuses cached code only under equal flags, so
 * threads started later compile all of Node's modules (40 ms of CPU each). And while a store loads,
 * none of it is garbage.
 */
export function tuneGarbageCollection(): void {
  setFlagsFromString(`--heap-growing-percent=${HEAP_GROWTH_PERCENT}`);
  for (const flag of ALONE) setFlagsFromString(flag);
}

/**
 * Collects this thread's garbage now, for a thread that hardly allocates any more: V8 collects only
 * on allocation, so it would keep the garbage for ever. Pauses the thread for about 0.5 ms per live
 * MB. Like `tuneGarbageCollection`, it slows the start of later threads.
 */
export function collectGarbage(): void {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  collect();
}
