import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { crc32c } from "../storage/crc32c.js";
import { Store } from "../store/store.js";
import { EtcdDirError, EtcdFileError } from "./errors.js";
import { lockedFile } from "./lock-held.js";
import { type EtcdLog, EtcdLogReader } from "./log.js";
import {
  decodeRaftSnapshot,
  decodeSnapshotFile,
  type EtcdEntry,
  type EtcdSnapshotMark,
} from "./messages.js";
import { ProtobufError } from "./protobuf.js";
import { EtcdReplay } from "./replay.js";
import { readStoreJson, StoreJsonError } from "./store-json.js";

/** What an etcd member's directory holds, as far as the v2 store goes. */
export interface EtcdContent {
  readonly memberId: bigint;
  readonly clusterId: bigint;
  readonly store: Store;
  /** Position of the last entry that is in `store`. */
  readonly index: number;
  readonly term: number;
  readonly members: number;
  /** The latest time of the log, Unix milliseconds; 0 if it has none. */
  readonly syncMs: number;
  /** Entries at the end of the log that are not known to be committed. */
  readonly uncommitted: number;
  readonly torn: EtcdLog["torn"];
  /** Requests of the v3 API among the entries that were applied. */
  readonly v3Requests: number;
  /** The v3 store's file, if there is one. */
  readonly v3File: string | undefined;
}

const SEGMENT = /^([0-9a-f]{16})-([0-9a-f]{16})\.wal$/;
const SNAPSHOT = /^([0-9a-f]{16})-([0-9a-f]{16})\.snap$/;

/**
 * Reads the directory of an etcd member, version 2.0 to 3.5, that is not running. Changes nothing.
 *
 *   <dir>/member/wal/<sequence>-<index>.wal   log.ts
 *   <dir>/member/snap/<term>-<index>.snap     the v2 store as JSON (store-json.ts)
 *   <dir>/member/snap/db                      the v3 store, not read
 *
 * @param walDir its log, if elsewhere
 * @param nowMs for which the events of the log show their TTLs
 * @throws EtcdDirError, EtcdFileError
 */
export function readEtcdMember(
  dir: string,
  walDir: string | undefined,
  nowMs: number,
): EtcdContent {
  const snapDir = join(dir, "member", "snap");
  const logDir = walDir ?? join(dir, "member", "wal");
  const segments = segmentsIn(dir, logDir);
  const db = join(snapDir, "db");
  const v3File = existsSync(db) ? db : undefined;
  const locked = lockedFile([...segments.map(({ path }) => path), ...(v3File ? [v3File] : [])]);
  if (locked !== undefined) {
    throw new EtcdDirError(dir, `another process has locked ${locked}; stop etcd first`);
  }
  const log = readLog(logDir, segments);
  const snapshot = readNewestSnapshot(snapDir, log);
  const replay = new EtcdReplay(snapshot.store, nowMs);
  const entries = entriesAfter(snapshot, log, logDir);
  const applied = applyCommitted(entries, snapshot.index, log, replay, logDir);
  const last = entries[applied - 1] ?? snapshot;
  if (last.index === 0) throw new EtcdDirError(dir, "its log has no committed entry");
  return {
    ...log.metadata,
    store: replay.store,
    ...{ index: last.index, term: last.term },
    members: replay.members.count,
    syncMs: replay.syncMs,
    uncommitted: entries.length - applied,
    torn: log.torn,
    v3Requests: replay.v3Requests,
    v3File,
  };
}

interface Segment {
  readonly path: string;
  readonly sequence: number;
  readonly firstIndex: number;
}

/** Oldest first. */
function segmentsIn(dir: string, logDir: string): Segment[] {
  attempt(dir, () => readdirSync(dir));
  if (!existsSync(logDir)) {
    throw new EtcdDirError(dir, `it has no log of etcd 2 or 3: ${logDir} is missing`);
  }
  const segments = attempt(logDir, () => readdirSync(logDir))
    .sort()
    .flatMap((name) => {
      const [, sequence, firstIndex] = SEGMENT.exec(name) ?? [];
      if (sequence === undefined || firstIndex === undefined) return [];
      const path = join(logDir, name);
      return [{ path, sequence: Number(`0x${sequence}`), firstIndex: Number(`0x${firstIndex}`) }];
    });
  for (const [i, { path, sequence }] of segments.entries()) {
    const before = segments[i - 1];
    if (before === undefined || sequence === before.sequence + 1) continue;
    throw new EtcdDirError(dir, `a segment is missing between ${before.path} and ${path}`);
  }
  if (segments.length === 0) throw new EtcdDirError(dir, `there is no log in ${logDir}`);
  return segments;
}

const RINGD_MAGIC = "ringdWAL";

function readLog(logDir: string, segments: readonly Segment[]): EtcdLog {
  const reader = new EtcdLogReader();
  for (const [i, { path }] of segments.entries()) {
    const bytes = attempt(path, () => readFileSync(path));
    if (bytes.latin1Slice(0, RINGD_MAGIC.length) === RINGD_MAGIC) {
      throw new EtcdDirError(logDir, "its log was written by ringd");
    }
    reader.segment(path, bytes, i === segments.length - 1);
  }
  return reader.finish();
}

interface Snapshot extends EtcdSnapshotMark {
  readonly store: Store;
}

/**
 * The newest snapshot of which the log has a mark at or before its commit index, as in
 * etcdserver/server.go: a file without one was not complete when etcd stopped. etcd skips a damaged
 * file for the one before; here it is an error, as the log may not reach back that far.
 */
function readNewestSnapshot(snapDir: string, { marks, hardState, entries }: EtcdLog): Snapshot {
  const end = Math.max(entries.at(-1)?.index ?? 0, ...marks.map(({ index }) => index));
  const names = existsSync(snapDir) ? attempt(snapDir, () => readdirSync(snapDir)) : [];
  for (const name of names
    .filter((each) => SNAPSHOT.test(each))
    .sort()
    .reverse()) {
    const [, term = "", index = ""] = SNAPSHOT.exec(name) ?? [];
    const id = { term: Number(`0x${term}`), index: Number(`0x${index}`) };
    if (id.index > end) throw new EtcdDirError(snapDir, `${name} ${afterEnd(id.index, end)}`);
    const isMarked = marks.some((mark) => mark.index === id.index && mark.term === id.term);
    if (!isMarked || id.index > hardState.commit) continue;
    return { ...id, store: readSnapshot(join(snapDir, name), id) };
  }
  return { index: 0, term: 0, store: new Store() };
}

/** A log that was cut off, or a follower that was killed while it got this snapshot. */
function afterEnd(index: number, end: number): string {
  return (
    `is of entry ${index}, and the log ends with entry ${end}, so entries are missing; ` +
    "use another member's directory, or remove that file to import what is left"
  );
}

/** @param id as in the file's name */
function readSnapshot(path: string, id: EtcdSnapshotMark): Store {
  const bytes = attempt(path, () => readFileSync(path));
  if (bytes.length === 0) throw new EtcdFileError(path, 0, "the file is empty");
  try {
    const file = decodeSnapshotFile(bytes);
    if (crc32c(file.data, 0) !== file.crc) throw new ProtobufError("the checksum differs");
    const { index, term, data } = decodeRaftSnapshot(file.data);
    if (index !== id.index || term !== id.term) {
      throw new ProtobufError("the file's name and content differ");
    }
    return new Store({}, readStoreJson(data));
  } catch (error) {
    if (error instanceof StoreJsonError) {
      throw new EtcdFileError(path, 0, `it does not hold a v2 store: ${error.message}`);
    }
    if (!(error instanceof ProtobufError)) throw error;
    const isCut = /truncated/.test(error.message);
    throw new EtcdFileError(
      path,
      isCut ? bytes.length : 0,
      isCut ? "the file is truncated" : error.message,
    );
  }
}

function entriesAfter(
  snapshot: Snapshot,
  { entries }: EtcdLog,
  logDir: string,
): readonly EtcdEntry[] {
  const first = entries[0];
  if (first !== undefined && first.index > snapshot.index + 1) {
    const from =
      snapshot.index === 0 ? "there is no snapshot" : `the snapshot is at ${snapshot.index}`;
    throw new EtcdDirError(logDir, `the log begins with entry ${first.index}, and ${from}`);
  }
  return entries.filter(({ index }) => index > snapshot.index);
}

/**
 * Applies the committed entries: up to the commit index on disk, and where this member is the only
 * voter all others, too, as its own disk is the majority then. etcd writes the commit index late,
 * so a process that was killed has acknowledged more than it names.
 *
 * @returns their number
 */
function applyCommitted(
  entries: readonly EtcdEntry[],
  snapshotIndex: number,
  { hardState, metadata }: EtcdLog,
  replay: EtcdReplay,
  logDir: string,
): number {
  const last = entries.at(-1)?.index ?? snapshotIndex;
  if (hardState.commit > last) {
    const what = `the log ends with entry ${last}, and entry ${hardState.commit} was committed`;
    throw new EtcdDirError(logDir, what);
  }
  let applied = 0;
  for (const entry of entries) {
    const isCommitted = entry.index <= hardState.commit;
    if (!isCommitted && !replay.members.isAlone(metadata.memberId)) break;
    try {
      if (entry.type > 1) throw new ProtobufError(`unknown type ${entry.type}`);
      replay.apply(entry);
    } catch (error) {
      if (!(error instanceof ProtobufError)) throw error;
      const where = `entry ${entry.index} cannot be decoded`;
      throw new EtcdDirError(logDir, `${where}: ${error.message}`);
    }
    applied++;
  }
  return applied;
}

function attempt<T>(path: string, action: () => T): T {
  try {
    return action();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === undefined) throw error;
    throw new EtcdDirError(path, error);
  }
}
