import { randomBytes } from "node:crypto";
import { copyFileSync, existsSync, readdirSync, rmSync, statSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { getHeapStatistics } from "node:v8";
import { FORMAT_LEVEL } from "../../cluster/format.js";
import { decodeSnapshotHead } from "../../cluster/snapshot-head.js";
import { RingdError, systemReason } from "../../lib/errors.js";
import type { WalEntry } from "../../messages/log-entry.js";
import { SnapshotReader } from "../../snap/reader.js";
import { listSnapshots } from "../../snap/writer.js";
import { FileDisk, syncDirectory } from "../../storage/disk.js";
import { CorruptRecordError } from "../../storage/errors.js";
import { SnapshotDecoder } from "../../store/snapshot.js";
import { makeDir } from "../../wal/data-dir.js";
import { LogReplay, type Replay } from "../../wal/recover.js";
import { parseSegmentName } from "../../wal/segment.js";
import { Wal } from "../../wal/wal.js";
import type { Context } from "../cli/spec.js";
import { EXIT, failure } from "../output/exit.js";
import { err, out } from "../output/terminal.js";
import { BackupTotals } from "./backup-totals.js";

/** Entries are synced in batches of about this size. */
const BATCH_BYTES = 4 * 2 ** 20;
const READ_TRIES = 5;
/** A state takes several times its bytes on disk. */
const HEAP_SHARE = 0.2;

/**
 * Copies the newest snapshot and the log after it to an empty directory; the member may be running.
 * The checksum of every record is verified. The copy gets new ids, so that it cannot be mistaken
 * for the original member: it starts with --force-new-cluster only.
 */
export async function backup({ flags }: Context): Promise<number> {
  const dataDir = flags.string("data-dir");
  const backupDir = flags.string("backup-dir");
  if (dataDir === "") throw failure("--data-dir is needed: the data directory to copy");
  if (backupDir === "") throw failure("--backup-dir is needed: the directory to make");
  if (flags.bool("with-v3")) err("--with-v3 has no effect: there is no v3 data\n");
  const source = {
    snap: join(dataDir, "member", "snap"),
    wal: flags.string("wal-dir") || join(dataDir, "member", "wal"),
  };
  const target = {
    snap: join(backupDir, "member", "snap"),
    wal: flags.string("backup-wal-dir") || join(backupDir, "member", "wal"),
  };
  try {
    const copied = copy(source, target);
    out(`backed up to ${backupDir}\n${rowsOf(copied, target)}`);
  } catch (error) {
    if (error instanceof RingdError) throw failure(error.message);
    if (!(error instanceof Error && "syscall" in error)) throw error;
    const { path = "", dest = path } = error as NodeJS.ErrnoException & { dest?: string };
    throw failure(`${dest}: ${systemReason(error)}`);
  }
  return EXIT.ok;
}

interface Dirs {
  readonly snap: string;
  readonly wal: string;
}

interface Copied {
  readonly snapshot: CopiedSnapshot;
  readonly log: Replay;
}

function copy(source: Dirs, target: Dirs): Copied {
  if (!existsSync(source.wal)) throw failure(`${source.wal}: no such directory`);
  if (existsSync(join(source.snap, "db"))) {
    throw failure(
      `${source.snap} was written by etcd: etcdctl backs it up, and ringctl import carries it over`,
    );
  }
  const dirs = [target.snap, target.wal];
  const made = dirs.flatMap((dir) => topOfMissing(dir));
  for (const dir of dirs) {
    makeDir(dir, "backup directory");
    if (readdirSync(dir).length > 0) throw failure(`${dir} is not empty`);
  }
  try {
    const snapshot = copySnapshot(source.snap, target.snap);
    const log = readLog(source.wal, snapshot.index);
    writeLog(target.wal, snapshot, log);
    return { snapshot, log };
  } catch (error) {
    // Half a backup could be taken for one.
    for (const dir of dirs) for (const name of readdirSync(dir)) rmSync(join(dir, name));
    for (const dir of made) rmSync(dir, { recursive: true, force: true });
    throw error;
  }
}

/** The highest directory above it, or itself, that does not exist. */
function topOfMissing(dir: string): string[] {
  if (existsSync(dir)) return [];
  const above = topOfMissing(dirname(resolve(dir)));
  return above.length > 0 ? above : [dir];
}

/** For the operator: how much was copied. */
function rowsOf({ snapshot, log }: Copied, target: Dirs): string {
  const { last } = log;
  const { index, term } = last.index > snapshot.index ? last : snapshot;
  const raft = `Raft index ${index}, term ${term}`;
  const totals = totalsOf(snapshot, log, target);
  const rows =
    totals === undefined
      ? [["index", `${raft}; too much to count keys in this process's heap`]]
      : [
          ["etcd index", `${totals.etcdIndex} (${raft})`],
          ["keys", `${totals.keys}`],
        ];
  rows.push(["bytes", `${bytesIn(target.snap) + bytesIn(target.wal)}`]);
  return rows.map(([label = "", text]) => `  ${label.padEnd(12)}${text}\n`).join("");
}

/** @returns undefined for a state that may exceed the heap */
function totalsOf(snapshot: CopiedSnapshot, log: Replay, { snap }: Dirs): BackupTotals | undefined {
  const { file } = snapshot;
  const logBytes = log.entries.reduce((sum, { data }) => sum + data.length, 0);
  if (bytesIn(snap) + logBytes > getHeapStatistics().heap_size_limit * HEAP_SHARE) return undefined;
  let totals = new BackupTotals();
  if (file !== "") {
    const reader = new SnapshotReader(snap, file);
    try {
      const decoder = new SnapshotDecoder();
      for (let block = reader.next(); block !== undefined; block = reader.next()) {
        decoder.push(block);
      }
      const head = decodeSnapshotHead(Buffer.from(reader.metadata), FORMAT_LEVEL);
      totals = new BackupTotals(decoder.finish(), head);
    } finally {
      reader.close();
    }
  }
  for (const entry of log.entries) if (entry.index > snapshot.index) totals.apply(entry);
  return totals;
}

function bytesIn(dir: string): number {
  return readdirSync(dir).reduce((sum, name) => sum + statSync(join(dir, name)).size, 0);
}

/** Index and term after which the log continues; 0 and no file without a snapshot. */
interface CopiedSnapshot {
  readonly index: number;
  readonly term: number;
  readonly file: string;
}

function copySnapshot(from: string, to: string): CopiedSnapshot {
  const newest = existsSync(from) ? listSnapshots(from).at(-1) : undefined;
  if (newest === undefined) return { index: 0, term: 0, file: "" };
  const file = newest.file;
  copyFileSync(join(from, file), join(to, file));
  const reader = new SnapshotReader(to, file);
  try {
    while (reader.next() !== undefined);
    reader.sync();
  } finally {
    reader.close();
  }
  syncDirectory(to);
  return { index: reader.index, term: reader.term, file };
}

/**
 * The last record may be torn, because the member may be writing it. What it writes while a file is
 * read can look like a hole; real damage is there again when the file is read again.
 */
function readLog(dir: string, snapshotIndex: number): Replay {
  for (let tries = 1; ; tries++) {
    try {
      return readLogOnce(dir, snapshotIndex);
    } catch (error) {
      if (!(error instanceof CorruptRecordError) || tries === READ_TRIES) throw error;
    }
  }
}

function readLogOnce(dir: string, snapshotIndex: number): Replay {
  const disk = new FileDisk(dir);
  const files = disk.list().filter((name) => parseSegmentName(name) !== undefined);
  if (files.length === 0) throw failure(`${dir} holds no log`);
  const replay = new LogReplay(dir, snapshotIndex + 1);
  for (const [i, file] of files.sort().entries()) {
    replay.segment(file, disk.read(file), i === files.length - 1);
  }
  return replay.finish(snapshotIndex);
}

function writeLog(dir: string, snapshot: { index: number; term: number }, log: Replay): void {
  const { wal } = Wal.create({
    disk: new FileDisk(dir),
    metadataIfNew: {
      memberId: randomBytes(8).readBigUInt64LE(),
      clusterId: randomBytes(8).readBigUInt64LE(),
    },
    snapshot,
    formatIfNew: log.tail.version,
  });
  const put = ({ index, term, type, data }: WalEntry) => {
    if (index <= snapshot.index) return;
    wal.append({ entries: [{ index, term, type, data }] });
    if (wal.queuedBytes >= BATCH_BYTES) wal.sync();
  };
  for (const entry of log.entries) put(entry);
  const { term, commit } = log.hardState;
  // The vote belongs to the old member's id.
  wal.setHardState({ term, vote: 0n, commit: Math.max(commit, snapshot.index) });
  wal.sync();
  wal.close();
}
