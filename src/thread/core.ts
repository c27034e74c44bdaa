import { randomInt } from "node:crypto";
import { getHeapStatistics } from "node:v8";
import { parentPort, workerData } from "node:worker_threads";
import { RingdError } from "../lib/errors.js";
import { createLogger } from "../log/logger.js";
import { RepeatFilter } from "../log/repeats.js";
import { memberLimits } from "../member/limits.js";
import { CoreLoop } from "../member/loop.js";
import type { RecoveredMember } from "../member/raft-start.js";
import { RecoveryReader } from "../member/recovery.js";
import { CORE_PART, type WorkerInput, type WorkerMessage } from "../messages/topology.js";
import { MetricCells } from "../metrics/cells.js";
import { cellOf } from "../metrics/families.js";
import { flushCompileCache } from "../process/compile-cache.js";
import { storeLimits } from "../process/heap.js";
import { ProfiledThread } from "../process/profiler.js";
import { Pulse } from "../process/pulse.js";
import { RAFT_LIMITS } from "../raft/options.js";
import { Bell } from "../ring/bell.js";
import { RingReader } from "../ring/ring.js";

/**
 * The thread of raft and the store. It never returns to its event loop: it drains rings and parks.
 */

const FLUSH_MS = 1000;
const WAKEUPS = cellOf("wakeups", "core");

const { config, topology, plan } = workerData as WorkerInput;
const repeats = new RepeatFilter(false);
const log = createLogger(config.log, "core", topology.logLevel, repeats);
const heapBytes = getHeapStatistics().heap_size_limit;
const limits = storeLimits(config.quotaBytes, heapBytes);
const bell = new Bell(topology.coreBell);
const metrics = new MetricCells(topology.metrics, CORE_PART);

function tellMain(message: WorkerMessage): void {
  parentPort?.postMessage(message);
}

/** Blocks until the wal thread has sent everything it read from disk. */
function receiveRecovery(): RecoveredMember {
  const durable = new RingReader(topology.durable, new Bell(topology.walBell));
  const storeOptions = {
    historyEventsMax: config.eventHistoryMax,
    historyBytesMax: limits.historyBytes,
  };
  const { packEntries } = RAFT_LIMITS;
  const reader = new RecoveryReader(durable, storeOptions, config.formatLevel, packEntries);
  const hasWork = () => reader.hasWork();
  while (!reader.isDone) {
    if (!reader.turn()) bell.park(hasWork, Number.POSITIVE_INFINITY);
  }
  return reader.finish();
}

const profiled = new ProfiledThread(topology.profiles, CORE_PART, tellMain);

function run(): void {
  const recovery = receiveRecovery();
  flushCompileCache();
  const { memberId, clusterId } = recovery;
  tellMain({ kind: "recovered", identity: { memberId, clusterId } });
  const loop = new CoreLoop(config, topology, plan, recovery, {
    wallMs: Date.now,
    monoMs: () => performance.now(),
    random: (below) => randomInt(below),
    log,
    limits,
    raftLimits: RAFT_LIMITS,
    memberLimits: memberLimits(heapBytes, config.clientLimits),
    onReady: (news) => tellMain({ kind: "published", news }),
  });
  const hasWork = () => loop.hasWork();
  const pulse = new Pulse(topology.pulse, CORE_PART);
  while (!loop.isStopped) {
    pulse.beat();
    repeats.sweep();
    if (config.enablePprof) profiled.poll();
    if (loop.turn()) continue;
    bell.park(hasWork, loop.msToNextTurn());
    metrics.add(WAKEUPS, 1);
  }
  loop.finish();
  while (!loop.flush()) bell.park(() => loop.canFlush(), FLUSH_MS);
  tellMain({ kind: "stopped" });
}

try {
  run();
} catch (error) {
  if (!(error instanceof RingdError)) throw error;
  tellMain({ kind: "failed", code: error.code, message: error.message });
}
