import { parentPort, workerData } from "node:worker_threads";
import { checkFormats } from "../cluster/envelope.js";
import { decodeSnapshotHead } from "../cluster/snapshot-head.js";
import { RingdError } from "../lib/errors.js";
import { createLogger } from "../log/logger.js";
import { RepeatFilter } from "../log/repeats.js";
import { DurableType, writeBytes, writeEntry, writeHardState } from "../messages/log.js";
import { WAL_PART, type WorkerInput, type WorkerMessage } from "../messages/topology.js";
import { MetricCells } from "../metrics/cells.js";
import { cellOf } from "../metrics/families.js";
import { collectGarbage } from "../process/heap.js";
import { EntryType } from "../raft/entry.js";
import { Bell } from "../ring/bell.js";
import { Outlet } from "../ring/fragments.js";
import { RingReader, RingWriter } from "../ring/ring.js";
import { snapshotName } from "../snap/format.js";
import { openNewestSnapshot, SnapshotReader } from "../snap/reader.js";
import { FileDisk } from "../storage/disk.js";
import type { DiskOp } from "../storage/disk-op.js";
import { type DirLock, lockDir, lockLogDir } from "../storage/lock.js";
import { Landmark } from "../storage/presence.js";
import { openDataDir } from "../wal/data-dir.js";
import { writeIdentity } from "../wal/identity.js";
import { WalLoop, writeSnapshotHead } from "../wal/loop.js";
import { FORMAT_VERSION as SEGMENT_FORMAT } from "../wal/segment.js";
import { Wal } from "../wal/wal.js";

/** The thread that owns the disk: reads it back to the core, then runs the log's loop. */

/** How much of what was read at start may wait for the core. */
const RECOVERY_BYTES_AHEAD_MAX = 4 * 1024 * 1024;

/** With more than this left of segments and entries that were read, they are worth collecting. */
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

/** --unsafe-no-fsync: everything but waiting for the disk. */
class UnsyncedDisk extends FileDisk {
  override run(op: DiskOp): void {
    if (op.op !== "datasync" && op.op !== "syncDirectory") super.run(op);
  }
}

/** Sends the core what the disk holds. @throws RingdError where it cannot be used */
function recover(disk: FileDisk, snapDir: string): Wal {
  const reader = openNewestSnapshot(snapDir);
  if (reader !== undefined) decodeSnapshotHead(Buffer.from(reader.metadata), config.formatLevel);
  const sender = reader === undefined ? undefined : new SnapshotSender(reader);
  const { memberId, clusterId } = plan ?? { memberId: 0n, clusterId: 0n };
  const { wal, recovery } = Wal.open({
    disk,
    metadataIfNew: { memberId, clusterId },
    // One that joins a cluster writes what an older build reads until the log says that all know more.
    formatIfNew: plan?.kind === "join" || config.formatLevel === 1 ? 1 : SEGMENT_FORMAT,
    ...(reader === undefined ? {} : { snapshot: { term: reader.term, index: reader.index } }),
    meanwhile: () => sender?.sendSome(),
    // A log that ends before the snapshot gives way to it, which must then be sound to its end.
    beforeRepair: (entries) => {
      const normal = entries.filter(({ type }) => type === EntryType.normal);
      checkFormats(
        normal.map(({ data }) => data),
        config.formatLevel,
      );
      sender?.sendRest();
    },
  });
  const { cutTail, entries, hardState, metadata } = recovery;
  try {
    writeIdentity(config.dataDir, metadata);
  } catch (error) {
    if (!(error instanceof RingdError)) throw error;
    log.warn({ err: error }, "cannot write down whose data directory this is");
  }
  if (cutTail !== undefined) {
    log.warn(cutTail, "cut off the end of the log: writes that were never acknowledged");
  }
  durable.open(16);
  durable.view.setBigUint64(durable.at, metadata.memberId, true);
  durable.view.setBigUint64(durable.at + 8, metadata.clusterId, true);
  durable.close(DurableType.identity, 16);
  for (const entry of entries) {
    writeEntry(durable, DurableType.entry, entry);
    waitForCore();
  }
  writeHardState(durable, DurableType.recovered, hardState);
  durable.publish();
  log.info({ entries: entries.length, term: hardState.term }, "read the log");
  return wal;
}

/** Sends a snapshot's blocks as the ring has room: the core builds the store while the log is read. */
class SnapshotSender {
  readonly #reader: SnapshotReader;
  #isDone = false;

  constructor(reader: SnapshotReader) {
    this.#reader = reader;
    writeSnapshotHead(durable, reader);
  }

  /** Without waiting for the core. @throws CorruptSnapshotError, DiskError */
  sendSome(): void {
    durable.publish();
    while (!this.#isDone && durable.queuedBytes === 0) {
      const block = this.#reader.next();
      if (block === undefined) this.#isDone = true;
      else writeBytes(durable, DurableType.snapshotBlock, block);
      durable.publish();
    }
  }

  /** @throws CorruptSnapshotError, DiskError */
  sendRest(): void {
    for (this.sendSome(); !this.#isDone; this.sendSome()) {
      bell.park(() => durable.canMove(), Number.POSITIVE_INFINITY);
    }
    this.#reader.close();
    log.info({ file: this.#reader.path }, "read the snapshot");
  }
}

function waitForCore(): void {
  if (durable.queuedBytes < RECOVERY_BYTES_AHEAD_MAX) return;
  durable.publish();
  while (durable.queuedBytes > 0) {
    bell.park(() => durable.canMove(), Number.POSITIVE_INFINITY);
    durable.publish();
  }
}

/** Takes appends until the core says stop. */
function serve(wal: Wal, snapDir: string, whatIsMissing: () => string | undefined): void {
  const loop = new WalLoop({
    wal,
    append: new RingReader(topology.append, coreBell),
    durable,
    openSnapshot: (position) => new SnapshotReader(snapDir, snapshotName(position)),
    whatIsMissing,
    maxWals: config.maxWals,
    metrics,
    monoMs: () => performance.now(),
    log,
  });
  const hasWork = () => loop.hasWork();
  while (!loop.isStopped) {
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
    const { walDir, snapDir } = openDataDir(config.dataDir, config.walDir || undefined);
    locks.push(lockDir(config.dataDir));
    locks.push(lockLogDir(walDir));
    const disk = config.unsafeNoFsync ? new UnsyncedDisk(walDir) : new FileDisk(walDir);
    const wal = recover(disk, snapDir);
    const landmarks = [new Landmark(walDir), new Landmark(snapDir), ...locks]; // Until the process ends.
    if (process.memoryUsage().arrayBuffers > GARBAGE_BYTES) collectGarbage();
    serve(wal, snapDir, () => {
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

main();
