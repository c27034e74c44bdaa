import { randomInt } from "node:crypto";
import { getHeapStatistics } from "node:v8";
import { parentPort, workerData } from "node:worker_threads";
import { decodeSnapshotHead, NO_HEAD } from "../cluster/snapshot-head.js";
import { assert } from "../lib/assert.js";
import { RingdError } from "../lib/errors.js";
import { createLogger } from "../log/logger.js";
import { RepeatFilter } from "../log/repeats.js";
import { CoreLoop } from "../member/loop.js";
import type { RecoveredMember } from "../member/raft-start.js";
import { DurableType, EntryReader, readHardState } from "../messages/log.js";
import { readNumber } from "../messages/numbers.js";
import { CORE_PART, type WorkerInput, type WorkerMessage } from "../messages/topology.js";
import { MetricCells } from "../metrics/cells.js";
import { cellOf } from "../metrics/families.js";
import { storeLimits } from "../process/heap.js";
import type { Entry, HardState, SnapshotMeta } from "../raft/entry.js";
import { Bell } from "../ring/bell.js";
import { Inlet } from "../ring/fragments.js";
import { RingReader } from "../ring/ring.js";
import { SnapshotDecoder } from "../store/snapshot.js";
import { Store } from "../store/store.js";

/** The thread of raft and the store. It has no event loop work: it drains rings and parks. */

const BATCH_RECORDS = 1024;
const FLUSH_MS = 1000;
const WAKEUPS = cellOf("wakeups", "core");

const { config, topology, plan } = workerData as WorkerInput;
const repeats = new RepeatFilter(false);
const log = createLogger(config.log, "core", topology.logLevel, repeats);
const limits = storeLimits(config.quotaBytes, getHeapStatistics().heap_size_limit);
const bell = new Bell(topology.coreBell);
const metrics = new MetricCells(topology.metrics, CORE_PART);

function tellMain(message: WorkerMessage): void {
  parentPort?.postMessage(message);
}

/** Waits for everything the disk held. */
function receiveRecovery(): RecoveredMember {
  const options = {
    historyEventsMax: config.eventHistoryMax,
    historyBytesMax: limits.historyBytes,
  };
  const entries: Entry[] = [];
  const reader = new EntryReader();
  let identity: { memberId: bigint; clusterId: bigint } | undefined;
  let meta: SnapshotMeta = { index: 0, term: 0, conf: { voters: [], learners: [] } };
  let head = NO_HEAD;
  let decoder: SnapshotDecoder | undefined;
  let hardState: HardState | undefined;
  const inlet = new Inlet(
    new RingReader(topology.durable, new Bell(topology.walBell)),
    (type, bytes, view, at, length) => {
      if (type === DurableType.identity) {
        const memberId = view.getBigUint64(at, true);
        identity = { memberId, clusterId: view.getBigUint64(at + 8, true) };
      } else if (type === DurableType.snapshotHead) {
        const read = decodeSnapshotHead(bytes.subarray(at + 16, at + length), config.formatLevel);
        const { conf } = read;
        head = read;
        meta = { term: readNumber(view, at, 0), index: readNumber(view, at, 1), conf };
        decoder = new SnapshotDecoder(options);
      } else if (type === DurableType.snapshotBlock) {
        decoder?.push(bytes.subarray(at, at + length));
      } else if (type === DurableType.entry) entries.push(reader.read(bytes, view, at, length));
      else if (type === DurableType.recovered) hardState = readHardState(view, at);
    },
  );
  while (hardState === undefined) {
    if (inlet.drain(BATCH_RECORDS) === 0) {
      bell.park(() => inlet.hasWork(), Number.POSITIVE_INFINITY);
    }
  }
  assert(identity !== undefined, "the log says whose it is");
  const store = decoder?.finish() ?? new Store(options);
  return { ...identity, snapshot: meta, head, store, entries, hardState };
}

function run(): void {
  const recovery = receiveRecovery();
  const { memberId, clusterId } = recovery;
  tellMain({ kind: "recovered", identity: { memberId, clusterId } });
  const loop = new CoreLoop(config, topology, plan, recovery, {
    wallMs: Date.now,
    monoMs: () => performance.now(),
    random: (below) => randomInt(below),
    log,
    limits,
    onReady: (news) => tellMain({ kind: "published", news }),
  });
  const hasWork = () => loop.hasWork();
  while (!loop.isStopped) {
    repeats.sweep();
    if (loop.turn()) continue;
    bell.park(hasWork, loop.msToNextTick());
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
