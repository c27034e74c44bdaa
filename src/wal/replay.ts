import { assert } from "../lib/assert.js";
import { RingdError } from "../lib/errors.js";
import type { Logger } from "../log/logger.js";
import {
  DurableType,
  writeBytes,
  writeEntry,
  writeHardState,
  writeSnapshotHead,
} from "../messages/log.js";
import type { WalEntry } from "../messages/log-entry.js";
import type { Outlet } from "../ring/fragments.js";
import type { SnapshotDir, SnapshotSource } from "../snap/source.js";
import type { Disk } from "../storage/disk.js";
import type { LogPosition } from "./batch.js";
import { hasLog, NO_POSITION, type WalOptions } from "./open-log.js";
import { type FormatVersion, SEGMENT_FORMAT, type WalMetadata } from "./segment.js";
import { type Recovery, Wal } from "./wal.js";

/** Limit of bytes queued for the core. */
const AHEAD_BYTES_MAX = 4 * 1024 * 1024;
const IDENTITY_BYTES = 16;

/** Rejects data that only a newer ringd can read, before anything on disk is changed. */
export interface EntryFormatCheck {
  /** @throws RingdError */
  snapshot(metadata: Uint8Array): void;
  /** @throws RingdError */
  entries(entries: readonly WalEntry[]): void;
}

/** The replay's dependencies; a simulation provides its own disk and core. */
export interface ReplayPorts {
  readonly disk: Disk;
  readonly snapshots: SnapshotDir;
  /** To the core. */
  readonly durable: Outlet;
  readonly formats: EntryFormatCheck;
  /** For a new log; an existing one has its own metadata. */
  readonly newLog: {
    /** Undefined if a member has started here. */
    readonly metadata: WalMetadata | undefined;
    readonly format: FormatVersion;
  };
  /** Stores it outside of the log. @throws RingdError */
  readonly saveIdentity: (metadata: WalMetadata) => void;
  /** Waits for the core to read from the ring; on return `durable` may have room. */
  readonly waitForCore: () => void;
  readonly log: Logger;
  readonly aheadBytesMax?: number;
  readonly walOptions?: Pick<WalOptions, "segmentBytes" | "zeroAheadBytes" | "salt">;
}

/**
 * Format of a new log. A joining member writes the oldest format until the log says that all
 * members support more.
 *
 * @param kind of the start plan; undefined if the member has started before
 */
export function newLogFormat(kind: string | undefined, formatLevel: number): FormatVersion {
  assert(formatLevel >= 1, "formats count from 1");
  return kind === "join" || formatLevel === 1 ? 1 : SEGMENT_FORMAT;
}

/**
 * Starts a member from disk: reads the newest snapshot and the log, repairs the log, and sends all
 * of it to the core, in the order of `DurableType`. The core builds the store meanwhile.
 *
 * Invariants:
 *   1. Nothing on disk is changed before snapshot and log are read completely and verified, and
 *      their formats are supported.
 *   2. The entries sent follow the snapshot sent, without a gap; the commit index lies among them.
 *   3. At most `aheadBytesMax` and one record are queued for the core.
 *
 * @returns the log, ready for appends
 * @throws RingdError if the directory is unusable
 */
export function replayToCore(ports: ReplayPorts): Wal {
  const { durable, log } = ports;
  assert(durable.queuedBytes === 0, "a start begins with an empty queue");
  const source = ports.snapshots.openNewest();
  try {
    const { wal, recovery } = openLog(ports, source);
    const { cutTail, entries, hardState, metadata } = recovery;
    checkRecovery(recovery, source ?? NO_POSITION);
    saveIdentity(ports, metadata);
    if (cutTail !== undefined) {
      log.warn(cutTail, "truncated torn WAL tail (no acknowledged writes lost)");
    }
    writeIdentityRecord(durable, metadata);
    for (const entry of entries) {
      writeEntry(durable, DurableType.entry, entry);
      if (durable.queuedBytes >= (ports.aheadBytesMax ?? AHEAD_BYTES_MAX)) flush(ports);
    }
    writeHardState(durable, DurableType.recovered, hardState);
    // The log's loop sends the rest. Waiting here kept the segments in memory while the core
    // starts: 1 % more at the peak, with a log of 600,000 entries.
    durable.publish();
    log.info({ entries: entries.length, term: hardState.term }, "read WAL");
    return wal;
  } finally {
    source?.close();
  }
}

function openLog(
  ports: ReplayPorts,
  source: SnapshotSource | undefined,
): { wal: Wal; recovery: Recovery } {
  const { disk, formats, newLog } = ports;
  assert(newLog.metadata !== undefined || hasLog(disk), "a log begins as a plan says");
  if (source !== undefined) formats.snapshot(source.metadata);
  const snapshot = source === undefined ? undefined : new SnapshotReplay(source, ports);
  const opened = Wal.open({
    ...ports.walOptions,
    disk,
    metadataIfNew: newLog.metadata ?? { memberId: 0n, clusterId: 0n },
    formatIfNew: newLog.format,
    ...(source === undefined ? {} : { snapshot: { term: source.term, index: source.index } }),
    meanwhile: () => snapshot?.sendSome(),
    // The snapshot replaces a log that ends before it, so it must be verified to its end first.
    beforeRepair: (entries) => {
      formats.entries(entries);
      snapshot?.sendRest();
      ports.snapshots.repair(source);
    },
  });
  assert(snapshot?.isDone !== false, "a snapshot is sent before what follows it");
  return opened;
}

/** Invariant 2, on this side of the ring. */
function checkRecovery(
  { base, entries, hardState, metadata }: Recovery,
  snapshot: LogPosition,
): void {
  const { memberId, clusterId } = metadata;
  assert(memberId > 0n && clusterId > 0n, "a log belongs to a member of a cluster");
  assert(base.index === snapshot.index, "the entries follow the snapshot");
  assert(base.term === snapshot.term, "the log agrees with the snapshot");
  const last = entries.at(-1) ?? base;
  assert(last.index === base.index + entries.length, "the entries have no gap");
  assert(hardState.commit >= base.index, "what a snapshot holds is committed");
  assert(hardState.commit <= last.index, "what is committed is in the log");
  assert(hardState.term >= last.term, "a term is no older than the last entry's");
}

/** Not needed to start. */
function saveIdentity({ saveIdentity: save, log }: ReplayPorts, metadata: WalMetadata): void {
  try {
    save(metadata);
  } catch (error) {
    if (!(error instanceof RingdError)) throw error;
    log.warn({ err: error }, "cannot write the identity file of the data directory");
  }
}

function writeIdentityRecord(durable: Outlet, { memberId, clusterId }: WalMetadata): void {
  durable.open(IDENTITY_BYTES);
  durable.view.setBigUint64(durable.at, memberId, true);
  durable.view.setBigUint64(durable.at + 8, clusterId, true);
  durable.close(DurableType.identity, IDENTITY_BYTES);
}

/** Waits until the core has read enough that everything is in the ring. */
function flush({ durable, waitForCore }: ReplayPorts): void {
  durable.publish();
  while (durable.queuedBytes > 0) {
    waitForCore();
    durable.publish();
  }
}

/** Sends a snapshot's blocks as far as the ring has room. */
class SnapshotReplay {
  readonly #source: SnapshotSource;
  readonly #ports: ReplayPorts;
  #isDone = false;

  constructor(source: SnapshotSource, ports: ReplayPorts) {
    this.#source = source;
    this.#ports = ports;
    writeSnapshotHead(ports.durable, source);
  }

  /** All of it is sent and verified. */
  get isDone(): boolean {
    return this.#isDone;
  }

  /** Does not wait for the core. @throws RingdError */
  sendSome(): void {
    const { durable } = this.#ports;
    durable.publish();
    while (!this.#isDone && durable.queuedBytes === 0) {
      const block = this.#source.next();
      this.#isDone = block === undefined;
      if (block === undefined) writeBytes(durable, DurableType.snapshotEnd, new Uint8Array(0));
      else writeBytes(durable, DurableType.snapshotBlock, block);
      durable.publish();
    }
  }

  /** @throws RingdError */
  sendRest(): void {
    for (this.sendSome(); !this.#isDone; this.sendSome()) this.#ports.waitForCore();
    const { path } = this.#source;
    this.#ports.log.info({ file: path }, "read snapshot");
  }
}
