import { parentPort, workerData } from "node:worker_threads";
import { RingdError } from "../lib/errors.js";
import { createLogger } from "../log/logger.js";
import { MetricCells } from "../metrics/cells.js";
import { cellOf } from "../metrics/families.js";
import { Bell } from "../ring/bell.js";
import { Inlet, Outlet } from "../ring/fragments.js";
import { RingReader, RingWriter } from "../ring/ring.js";
import { listSnapshots, openSnapshot, removeTemporarySnapshots } from "../snap/files.js";
import { type DataDirPaths, openDataDir } from "../wal/data-dir.js";
import { RealDisk, UnsyncedDisk } from "../wal/disk.js";
import { LogFailedError, LogFullError } from "../wal/errors.js";
import { DataDirLock } from "../wal/lock.js";
import { Wal } from "../wal/wal.js";
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
import { readNumber, writeNumbers } from "./records.js";
import { WAL_PART, type WorkerInput, type WorkerMessage } from "./topology.js";

/** The thread that owns the disk: one write and one fdatasync for all that came in meanwhile. */

const BATCH_RECORDS = 4096;
/** How much of what was read at start may wait for the core. */
const RECOVERY_BYTES_AHEAD_MAX = 4 * 1024 * 1024;
/** While the disk is full: how often space is looked for. */
const RETRY_MS = 500;

const FSYNC_SECONDS = cellOf("walFsyncDuration");
const FINE_FSYNC_SECONDS = cellOf("ringdFsyncDuration");
const BATCH_SIZE = cellOf("walBatchRecords");
const LAST_INDEX = cellOf("walLastIndexSaved");

const { config, topology } = workerData as WorkerInput;
const log = createLogger(config.log, "wal", topology.logLevel);
const metrics = new MetricCells(topology.metrics, WAL_PART);
const bell = new Bell(topology.walBell);
const coreBell = new Bell(topology.coreBell);
const durable = new Outlet(new RingWriter(topology.durable, coreBell));

function tellMain(message: WorkerMessage): void {
  parentPort?.postMessage(message);
}

/** Sends the core what the disk holds. @throws RingdError where it cannot be used */
function recover(paths: DataDirPaths): Wal {
  const disk = config.unsafeNoFsync ? new UnsyncedDisk() : new RealDisk();
  const options = { disk, directory: paths.wal };
  removeTemporarySnapshots(paths.snap);
  const afterIndex = sendSnapshot(paths.snap);
  if (!Wal.exists(options)) {
    if (afterIndex > 0) {
      throw new LogFailedError(`There is a snapshot in ${paths.snap}, but no log in ${paths.wal}.`);
    }
    const { memberId, clusterId } = config;
    const wal = Wal.create(options, { memberId, clusterId }, 0);
    sendIdentity(memberId, clusterId);
    writeHardState(durable, DurableType.recovered, { term: 0, vote: 0n, commit: 0 });
    durable.publish();
    return wal;
  }
  const { wal, metadata, hardState, entries, warnings } = Wal.open(options, afterIndex);
  for (const warning of warnings) log.warn(warning);
  sendIdentity(metadata.memberId, metadata.clusterId);
  for (const entry of entries) {
    writeEntry(durable, DurableType.entry, entry);
    waitForCore();
  }
  writeHardState(durable, DurableType.recovered, hardState);
  durable.publish();
  log.info({ entries: entries.length, afterIndex, term: hardState.term }, "read the log");
  return wal;
}

function sendIdentity(memberId: bigint, clusterId: bigint): void {
  durable.open(16);
  durable.view.setBigUint64(durable.at, memberId, true);
  durable.view.setBigUint64(durable.at + 8, clusterId, true);
  durable.close(DurableType.identity, 16);
}

/** @returns the index the newest snapshot ends at, or 0 */
function sendSnapshot(directory: string): number {
  const newest = listSnapshots(directory)[0];
  if (newest === undefined) return 0;
  const { head, blocks, close } = openSnapshot(directory, newest.file);
  durable.open(16 + head.metadata.length);
  durable.view.setFloat64(durable.at, head.term, true);
  durable.view.setFloat64(durable.at + 8, head.index, true);
  durable.bytes.set(head.metadata, durable.at + 16);
  durable.close(DurableType.snapshotHead, 16 + head.metadata.length);
  for (const block of blocks) {
    writeBytes(durable, DurableType.snapshotBlock, block);
    waitForCore();
  }
  close();
  log.info({ file: newest.file }, "read the snapshot");
  return head.index;
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
function serve(wal: Wal): void {
  let job = 0;
  let reported = 0;
  let batch = 0;
  let isStopping = false;
  const append = new Inlet(
    new RingReader(topology.append, coreBell),
    (type, bytes, view, at, length) => {
      if (type === AppendType.entry) {
        batch++;
        wal.appendEntry(
          view.getFloat64(at, true),
          view.getFloat64(at + 8, true),
          view.getUint32(at + 16, true),
          bytes,
          entryDataAt(at),
          entryDataBytes(length),
        );
      } else if (type === AppendType.hardState) wal.saveHardState(readHardState(view, at));
      else if (type === AppendType.endJob) job = readNumber(view, at, 0);
      else if (type === AppendType.release) {
        wal.releaseBefore(readNumber(view, at, 0), config.maxWals);
      } else if (type === AppendType.stop) isStopping = true;
    },
  );
  const hasWork = () => append.hasWork() || durable.canMove();
  while (!isStopping || wal.hasUnsynced) {
    const taken = append.drain(BATCH_RECORDS);
    if (wal.hasUnsynced) syncWhenPossible(wal, batch, () => isStopping);
    batch = 0;
    if (job !== reported) {
      reported = job;
      writeNumbers(durable, DurableType.durable, job);
      metrics.set(LAST_INDEX, wal.lastIndex);
    }
    durable.publish();
    if (taken === 0) bell.park(hasWork, Number.POSITIVE_INFINITY);
  }
}

/** One group commit; waits while the disk is full. @throws LogFailedError */
function syncWhenPossible(wal: Wal, entries: number, isStopping: () => boolean): void {
  let isBlocked = false;
  for (;;) {
    try {
      const startMs = performance.now();
      wal.sync();
      if (wal.isSegmentFull) wal.cut();
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
      if (isStopping()) throw error;
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
  let lock: DataDirLock | undefined;
  try {
    const paths = openDataDir(config.dataDir, config.walDir);
    lock = DataDirLock.acquire(config.dataDir);
    const wal = recover(paths);
    try {
      serve(wal);
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
