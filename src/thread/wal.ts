import { parentPort, workerData } from "node:worker_threads";
import { FormatCheck } from "../cluster/format-check.js";
import { RingdError } from "../lib/errors.js";
import { createLogger } from "../log/logger.js";
import { RepeatFilter } from "../log/repeats.js";
import { WAL_PART, type WorkerInput, type WorkerMessage } from "../messages/topology.js";
import { MetricCells } from "../metrics/cells.js";
import { cellOf } from "../metrics/families.js";
import { flushCompileCache } from "../process/compile-cache.js";
import { collectGarbage } from "../process/heap.js";
import { ProfiledThread } from "../process/profiler.js";
import { Pulse } from "../process/pulse.js";
import { Bell } from "../ring/bell.js";
import { Outlet } from "../ring/fragments.js";
import { RingReader, RingWriter } from "../ring/ring.js";
import { FileSnapshots } from "../snap/files.js";
import { SnapshotDir } from "../snap/source.js";
import { FileDisk } from "../storage/disk.js";
import type { DiskOp } from "../storage/disk-op.js";
import { type DirLock, lockDir, lockLogDir } from "../storage/lock.js";
import { Landmark } from "../storage/presence.js";
import { openDataDir, openToOthers } from "../wal/data-dir.js";
import { writeIdentity } from "../wal/identity.js";
import { WalLoop } from "../wal/loop.js";
import { newLogFormat, replayToCore } from "../wal/replay.js";
import type { Wal } from "../wal/wal.js";

/** The thread that owns the disk: replays it to the core, then runs the log's loop. */

/** Replay garbage (segments, entries) above this is collected before serving. */
const GARBAGE_BYTES = 8 * 1024 * 1024;

const { config, topology, plan } = workerData as WorkerInput;
const repeats = new RepeatFilter(false);
const log = createLogger(config.log, "wal", topology.logLevel, repeats);
const WAKEUPS = cellOf("wakeups", "wal");
const metrics = new MetricCells(topology.metrics, WAL_PART);
const bell = new Bell(topology.walBell);
const coreBell = new Bell(topology.coreBell);
const durable = new Outlet(new RingWriter(topology.durable, coreBell));

function tellMain(message: WorkerMessage): void {
  parentPort?.postMessage(message);
}

/** --unsafe-no-fsync: writes as usual, never syncs. */
class UnsyncedDisk extends FileDisk {
  override run(op: DiskOp): void {
    if (op.op !== "datasync" && op.op !== "syncDirectory") super.run(op);
  }
}

/** Replays the disk to the core. @throws RingdError if the data is unusable */
function recover(disk: FileDisk, snapshots: SnapshotDir): Wal {
  return replayToCore({
    disk,
    snapshots,
    durable,
    formats: new FormatCheck(config.formatLevel),
    newLog: { metadata: plan, format: newLogFormat(plan?.kind, config.formatLevel) },
    saveIdentity: (metadata) => writeIdentity(config.dataDir, metadata),
    waitForCore: () => bell.park(() => durable.canMove(), Number.POSITIVE_INFINITY),
    log,
  });
}

const profiled = new ProfiledThread(topology.profiles, WAL_PART, tellMain);

/** Takes appends until the core says stop. */
function serve(wal: Wal, snapshots: SnapshotDir, whatIsMissing: () => string | undefined): void {
  const loop = new WalLoop({
    wal,
    append: new RingReader(topology.append, coreBell),
    durable,
    openSnapshot: (position) => snapshots.open(position),
    whatIsMissing,
    maxWals: config.maxWals,
    metrics,
    monoMs: () => performance.now(),
    log,
  });
  const hasWork = () => loop.hasWork();
  const pulse = new Pulse(topology.pulse, WAL_PART);
  while (!loop.isStopped) {
    pulse.beat();
    if (config.enablePprof) profiled.poll();
    if (loop.turn() || loop.isStopped) continue;
    bell.park(hasWork, loop.msToNext());
    metrics.add(WAKEUPS, 1);
    repeats.sweep();
  }
}

function main(): void {
  const locks: DirLock[] = [];
  const release = () => {
    for (const lock of locks.splice(0)) lock.release();
  };
  try {
    const dataDir = openDataDir(config.dataDir, config.walDir || undefined);
    const { walDir, snapDir } = dataDir;
    for (const warning of openToOthers(dataDir)) log.warn(warning);
    locks.push(lockDir(config.dataDir));
    locks.push(lockLogDir(walDir));
    const disk = config.unsafeNoFsync ? new UnsyncedDisk(walDir) : new FileDisk(walDir);
    const snapshots = new SnapshotDir(new FileSnapshots(snapDir));
    const wal = recover(disk, snapshots);
    flushCompileCache();
    // Held until the process ends.
    const landmarks = [new Landmark(walDir), new Landmark(snapDir), ...locks];
    if (process.memoryUsage().arrayBuffers > GARBAGE_BYTES) collectGarbage();
    serve(wal, snapshots, () => {
      for (const landmark of landmarks) {
        const missing = landmark.missing();
        if (missing !== undefined) return missing;
      }
      return disk.missing(wal.file);
    });
    wal.close();
    release();
    tellMain({ kind: "stopped" });
  } catch (error) {
    if (!(error instanceof RingdError)) throw error;
    release();
    tellMain({ kind: "failed", code: error.code, message: error.message });
  }
}

// All ports are bound then.
parentPort?.once("message", main);
