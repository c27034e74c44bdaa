import { parentPort, workerData } from "node:worker_threads";
import { readNumber, writeNumbers } from "../frontend/records.js";
import { RingdError } from "../lib/errors.js";
import { createLogger } from "../log/logger.js";
import { MetricCells } from "../metrics/cells.js";
import { cellOf } from "../metrics/families.js";
import type { EntryType } from "../raft/entry.js";
import { Bell } from "../ring/bell.js";
import { Inlet, Outlet } from "../ring/fragments.js";
import { RingReader, RingWriter } from "../ring/ring.js";
import { snapshotName } from "../snap/format.js";
import { openNewestSnapshot, SnapshotReader } from "../snap/reader.js";
import type { LogPosition } from "../wal/batch.js";
import { openDataDir } from "../wal/data-dir.js";
import { FileDisk } from "../wal/disk.js";
import { LogFailedError, LogFullError } from "../wal/errors.js";
import { lockDir } from "../wal/lock.js";
import type { DiskOp } from "../wal/plan.js";
import { Wal } from "../wal/wal.js";
import { collectGarbage } from "./heap.js";
import {
  AppendType,
  DurableType,
  entryDataAt,
  entryDataBytes,
  readHardState,
  writeBytes,
  writeEntry,
  writeHardState,
} from "./log-records.js";
import { WAL_PART, type WorkerInput, type WorkerMessage } from "./topology.js";

/** The thread that owns the disk: one write and one fdatasync for all that came in meanwhile. */

const BATCH_RECORDS = 4096;
const STEP_RECORDS = 16;
const BATCH_BYTES_MAX = 4 * 1024 * 1024;
/** While the disk is full: what may wait in memory. The rest waits in the ring and before it. */
const FULL_BYTES_MAX = 32 * 1024 * 1024;
/** How much of what was read at start may wait for the core. */
const RECOVERY_BYTES_AHEAD_MAX = 4 * 1024 * 1024;
/** While the disk is full: how often space is looked for. */
const RETRY_MS = 500;

const FSYNC_SECONDS = cellOf("walFsyncDuration");
const FINE_FSYNC_SECONDS = cellOf("ringdFsyncDuration");
const BATCH_SIZE = cellOf("walBatchRecords");
const LAST_INDEX = cellOf("walLastIndexSaved");

const { config, topology, plan } = workerData as WorkerInput;
const log = createLogger(config.log, "wal", topology.logLevel);
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
function recover(walDir: string, snapDir: string): Wal {
  const disk = config.unsafeNoFsync ? new UnsyncedDisk(walDir) : new FileDisk(walDir);
  const snapshot = sendSnapshot(snapDir);
  const { memberId, clusterId } = plan ?? { memberId: 0n, clusterId: 0n };
  const { wal, recovery } = Wal.open({
    disk,
    metadataIfNew: { memberId, clusterId },
    ...(snapshot === undefined ? {} : { snapshot }),
  });
  const { cutTail, entries, hardState, metadata } = recovery;
  if (cutTail !== undefined) {
    log.warn(cutTail, "cut off the end of the log: writes that were never acknowledged");
  }
  durable.open(16);
  durable.view.setBigUint64(durable.at, metadata.memberId, true);
  durable.view.setBigUint64(durable.at + 8, metadata.clusterId, true);
  durable.close(DurableType.identity, 16);
  for (const entry of entries) {
    writeEntry(durable, DurableType.entry, { ...entry, type: entry.type as EntryType });
    waitForCore();
  }
  writeHardState(durable, DurableType.recovered, hardState);
  durable.publish();
  log.info({ entries: entries.length, term: hardState.term }, "read the log");
  return wal;
}

/** @returns where the newest snapshot ends, if there is one */
function sendSnapshot(dir: string): LogPosition | undefined {
  const reader = openNewestSnapshot(dir);
  if (reader === undefined) return undefined;
  sendBlocks(reader);
  return { term: reader.term, index: reader.index };
}

/** @throws CorruptSnapshotError, DiskError */
function sendBlocks(reader: SnapshotReader): void {
  const { term, index, metadata, path } = reader;
  durable.open(16 + metadata.length);
  durable.view.setFloat64(durable.at, term, true);
  durable.view.setFloat64(durable.at + 8, index, true);
  durable.bytes.set(metadata, durable.at + 16);
  durable.close(DurableType.snapshotHead, 16 + metadata.length);
  for (let block = reader.next(); block !== undefined; block = reader.next()) {
    writeBytes(durable, DurableType.snapshotBlock, block);
    waitForCore();
  }
  reader.close();
  log.info({ file: path }, "read the snapshot");
}

/** A snapshot from another member, checked when it came, for the core to continue from. */
function loadSnapshot(dir: string, position: LogPosition): void {
  try {
    sendBlocks(new SnapshotReader(dir, snapshotName(position)));
    writeBytes(durable, DurableType.snapshotEnd, new Uint8Array(0));
  } catch (error) {
    if (!(error instanceof RingdError)) throw error;
    log.error({ err: error }, "cannot read the snapshot that was received");
    writeBytes(durable, DurableType.snapshotFailed, Buffer.from(error.message));
  }
}

function readPosition(view: DataView, at: number): LogPosition {
  return { term: readNumber(view, at, 0), index: readNumber(view, at, 1) };
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
function serve(wal: Wal, snapDir: string): void {
  let job = 0;
  let reported = 0;
  let batch = 0;
  let isStopping = false;
  const append = new Inlet(
    new RingReader(topology.append, coreBell),
    (type, bytes, view, at, length) => {
      if (type === AppendType.entry) {
        batch++;
        const dataAt = entryDataAt(at);
        const dataBytes = entryDataBytes(length);
        const into = wal.reserve(
          view.getFloat64(at, true),
          view.getFloat64(at + 8, true),
          view.getUint32(at + 16, true),
          dataBytes,
        );
        wal.buffer.set(bytes.subarray(dataAt, dataAt + dataBytes), into);
      } else if (type === AppendType.hardState) wal.setHardState(readHardState(view, at));
      else if (type === AppendType.endJob) job = readNumber(view, at, 0);
      else if (type === AppendType.release) {
        wal.releaseBefore(readNumber(view, at, 0), config.maxWals);
      } else if (type === AppendType.install) wal.installSnapshot(readPosition(view, at));
      else if (type === AppendType.loadSnapshot) loadSnapshot(snapDir, readPosition(view, at));
      else if (type === AppendType.stop) isStopping = true;
    },
  );
  const hasWork = () => append.hasWork() || durable.canMove();
  // In small steps, as a large value may come with each record and the buffer has an end.
  const take = (bytesMax: number) => {
    let taken = 0;
    while (taken < BATCH_RECORDS && wal.queuedBytes < bytesMax) {
      const more = append.drain(STEP_RECORDS);
      taken += more;
      if (more < STEP_RECORDS) break;
    }
    return taken;
  };
  // What lets go of old segments, which may make room, and the stop come behind what has no room.
  const whileFull = () => {
    take(FULL_BYTES_MAX);
    return isStopping;
  };
  while (!isStopping || wal.hasUnsynced) {
    const taken = take(BATCH_BYTES_MAX);
    if (wal.hasUnsynced) syncWhenPossible(wal, batch, whileFull);
    batch = 0;
    if (job !== reported) {
      reported = job;
      writeNumbers(durable, DurableType.durable, job);
      metrics.set(LAST_INDEX, wal.durable.index);
    }
    durable.publish();
    if (taken === 0) bell.park(hasWork, Number.POSITIVE_INFINITY);
  }
}

/**
 * One group commit; waits while the disk is full.
 *
 * @param whileFull takes what else comes; returns whether the member stops
 * @throws LogFailedError; LogFullError if the member stops on a full disk
 */
function syncWhenPossible(wal: Wal, entries: number, whileFull: () => boolean): void {
  let isBlocked = false;
  for (;;) {
    try {
      const startMs = performance.now();
      wal.sync();
      const seconds = (performance.now() - startMs) / 1000;
      metrics.observe(FSYNC_SECONDS, seconds);
      metrics.observe(FINE_FSYNC_SECONDS, seconds);
      metrics.observe(BATCH_SIZE, entries);
      if (isBlocked) {
        log.info("there is space again; writes are accepted");
        writeBytes(durable, DurableType.blocked, new Uint8Array(0));
      }
      return;
    } catch (error) {
      if (!(error instanceof LogFullError)) throw error;
      if (!isBlocked) {
        log.error({ err: error }, "the disk is full; writes are refused until there is space");
        writeBytes(durable, DurableType.blocked, Buffer.from(error.message));
        durable.publish();
      }
      isBlocked = true;
      if (whileFull()) throw error;
      bell.park(() => false, RETRY_MS);
    }
  }
}

/** The log failed: nothing more is promised; the core goes on answering reads. */
function reportFailure(error: LogFailedError): void {
  log.fatal({ err: error }, "the log failed; restart the member when the disk is well");
  writeBytes(durable, DurableType.failed, Buffer.from(error.message));
  durable.publish();
  let isStopping = false;
  const append = new Inlet(new RingReader(topology.append, coreBell), (type) => {
    isStopping ||= type === AppendType.stop;
  });
  while (!isStopping) {
    append.drain(BATCH_RECORDS);
    durable.publish();
    if (!isStopping)
      bell.park(() => append.hasWork() || durable.canMove(), Number.POSITIVE_INFINITY);
  }
}

function main(): void {
  let lock: { release(): void } | undefined;
  try {
    const { walDir, snapDir } = openDataDir(config.dataDir, config.walDir || undefined);
    lock = lockDir(config.dataDir);
    const wal = recover(walDir, snapDir);
    collectGarbage(); // All segments and entries that were read.
    try {
      serve(wal, snapDir);
      wal.close();
    } catch (error) {
      if (error instanceof LogFailedError) reportFailure(error);
      else if (!(error instanceof LogFullError)) throw error;
    }
    lock.release();
    tellMain({ kind: "stopped" });
  } catch (error) {
    if (!(error instanceof RingdError)) throw error;
    lock?.release();
    tellMain({ kind: "failed", code: error.code, message: error.message });
  }
}

main();
