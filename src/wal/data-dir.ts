import {
  chmodSync,
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  statSync,
} from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { assert } from "../lib/assert.js";
import { syncDirectory } from "../storage/disk.js";
import { DataDirAccessError, type DirRole, ForeignDataDirError } from "../storage/errors.js";
import { IDENTITY_FILE, readIdentity } from "./identity.js";
import { PAYLOAD_BYTES_MAX, SECTOR_BYTES } from "./record.js";
import {
  decodeSegmentHeader,
  holdsRecord,
  newerFormat,
  parseSegmentName,
  SEGMENT_HEADER_BYTES,
  type WalMetadata,
} from "./segment.js";

/**
 * A data directory:
 *
 *   <data-dir>/lock            lock.ts
 *   <data-dir>/identity        identity.ts
 *   <data-dir>/member/wal/     the log, unless --wal-dir puts it elsewhere
 *   <data-dir>/member/snap/    snapshots
 *   <data-dir>/proxy/          instead of member/, for a proxy
 */
export interface DataDir {
  readonly dir: string;
  readonly walDir: string;
  readonly snapDir: string;
}

const DIR_MODE = 0o700;
/** Size of a segment's header and its largest possible first record, in whole sectors. */
const FIRST_RECORD_BYTES = SEGMENT_HEADER_BYTES + PAYLOAD_BYTES_MAX + 2 * SECTOR_BYTES;

/** The role that last used the directory. */
export type DataDirKind = "empty" | "member" | "proxy";

/** @throws ForeignDataDirError if it is both; DataDirAccessError */
export function dataDirKind(dir: string): DataDirKind {
  const isMember = existsSync(join(dir, "member"));
  const isProxy = existsSync(join(dir, "proxy"));
  if (isMember && isProxy) {
    throw new ForeignDataDirError(dir, "it holds both member/ and proxy/; remove the wrong one");
  }
  return isMember ? "member" : isProxy ? "proxy" : "empty";
}

/**
 * Makes a member's missing directories, durably, with mode 0700. Checks first: a directory written
 * by etcd or a newer ringd is left unchanged.
 *
 * @throws ForeignDataDirError, DataDirAccessError
 */
export function openDataDir(dir: string, walDir = join(dir, "member", "wal")): DataDir {
  const snapDir = join(dir, "member", "snap");
  if (dataDirKind(dir) === "proxy") {
    throw new ForeignDataDirError(
      dir,
      "it belongs to a proxy; remove proxy/ to start a member here",
    );
  }
  for (const candidate of [walDir, join(dir, "member", "wal")]) checkLog(dir, candidate);
  if (existsSync(join(snapDir, "db"))) {
    throw new ForeignDataDirError(dir, `it was written by etcd (member/snap/db). ${toImport(dir)}`);
  }
  checkNothingIsLost(dir, walDir, snapDir);
  checkSameMember(dir, walDir, snapDir);
  makeDir(dir, "data directory");
  makeDir(snapDir, "snapshot directory");
  makeDir(walDir, "log directory");
  return { dir, walDir, snapDir };
}

/**
 * etcd's warnings about directories that other users may enter. What is inside a private directory
 * is not looked at.
 */
export function openToOthers({ dir, walDir }: DataDir): string[] {
  const isInside = !relative(dir, walDir).startsWith("..");
  return (isInside ? [dir] : [dir, walDir]).flatMap((path) => {
    const { mode } = statSync(path);
    if ((mode & 0o077) === 0) return [];
    return (
      `check file permission: directory ${JSON.stringify(path)} exist, but the permission is ` +
      `"${modeText(mode)}". The recommended permission is "-rwx------" to prevent possible ` +
      "unprivileged access to the data."
    );
  });
}

/** As Go prints a directory's mode: drwxr-xr-x. */
function modeText(mode: number): string {
  const letters = [..."rwxrwxrwx"].map((letter, i) => ((mode >> (8 - i)) & 1 ? letter : "-"));
  return `d${letters.join("")}`;
}

/**
 * Rejects a log without its snapshot directory: the data directory was emptied, but not --wal-dir.
 */
function checkNothingIsLost(dir: string, walDir: string, snapDir: string): void {
  if (segmentsIn(walDir).length === 0 || existsSync(snapDir)) return;
  throw new ForeignDataDirError(
    dir,
    `there is a log in ${walDir}, but its snapshot directory ${snapDir} is missing. Put it back, restore both ` +
      "from a backup, or remove this member from its cluster and add it again with both empty",
  );
}

/**
 * Rejects one member's log beside another's snapshots, as when two --wal-dir were swapped: recovery
 * would replace a log that ends before the snapshot. Inside one data directory both belong
 * together, and in a restored backup the log decides.
 */
function checkSameMember(dir: string, walDir: string, snapDir: string): void {
  if (resolve(walDir) === resolve(dir, "member", "wal") || !existsSync(snapDir)) return;
  const [first] = segmentsIn(walDir);
  const identity = readIdentity(dir);
  if (first === undefined || identity === undefined) return;
  if (!namesIn(snapDir, "snapshot directory").some((name) => name.endsWith(".snap"))) return;
  const scan = decodeSegmentHeader(readStart(join(walDir, first), SEGMENT_HEADER_BYTES));
  if (scan.kind !== "header") return; // Recovery reports it.
  const { memberId, clusterId } = scan.header.metadata;
  if (memberId === identity.memberId && clusterId === identity.clusterId) return;
  throw new ForeignDataDirError(
    dir,
    `its snapshots are of member ${identity.memberId.toString(16)}, and the log in ${walDir} is of member ` +
      `${memberId.toString(16)}. Pass the member's own log as --wal-dir; if both are of one backup that ` +
      `was restored here, remove ${join(dir, IDENTITY_FILE)}`,
  );
}

/**
 * Rejects a first start in a directory that was used before and whose log is missing.
 *
 * @param planned the identity to start with. @throws ForeignDataDirError, DataDirAccessError
 */
export function checkFirstStart(
  dir: string,
  walDir = join(dir, "member", "wal"),
  planned: WalMetadata,
): void {
  assert(planned.memberId > 0n && planned.clusterId > 0n, "a member and its cluster have ids");
  const before = readIdentity(dir);
  if (before?.memberId !== planned.memberId || before.clusterId !== planned.clusterId) return;
  if (segmentsIn(walDir).length > 0) return; // That start was interrupted: continue it.
  throw new ForeignDataDirError(
    dir,
    `member ${before.memberId.toString(16)} was started here before, and its log is missing from ${walDir}. Put it ` +
      "back, restore the directory from a backup, or remove the member from its cluster and add it again; to " +
      `discard all of its data and start over, remove ${join(dir, IDENTITY_FILE)}`,
  );
}

/**
 * Whether a member has started here: from then on its log has the membership, not the flags. An
 * interrupted first start may leave a first segment without a record, or with a torn one, which
 * recovery truncates.
 *
 * @throws DataDirAccessError
 */
export function hasBegun(dir: string, walDir = join(dir, "member", "wal")): boolean {
  const segments = segmentsIn(walDir);
  const [first] = segments;
  if (first === undefined || segments.length > 1) return first !== undefined;
  return holdsRecord(readStart(join(walDir, first), FIRST_RECORD_BYTES));
}

/**
 * The identity of a first start that was interrupted before the log had a record.
 *
 * @throws DataDirAccessError
 */
export function identityLeft(
  dir: string,
  walDir = join(dir, "member", "wal"),
): WalMetadata | undefined {
  const [first] = segmentsIn(walDir);
  if (first === undefined || hasBegun(dir, walDir)) return undefined;
  const scan = decodeSegmentHeader(readStart(join(walDir, first), SEGMENT_HEADER_BYTES));
  return scan.kind === "header" ? scan.header.metadata : undefined;
}

/** Names, in order. */
function segmentsIn(walDir: string): string[] {
  if (!existsSync(walDir)) return [];
  return namesIn(walDir, "log directory")
    .filter((name) => parseSegmentName(name) !== undefined)
    .sort();
}

function namesIn(dir: string, role: DirRole): string[] {
  try {
    return readdirSync(dir);
  } catch (error) {
    throw new DataDirAccessError(dir, error, role);
  }
}

/** Reads the start of the newest segment only: recovery reads them all. */
function checkLog(dir: string, walDir: string): void {
  const newest = segmentsIn(walDir).at(-1);
  if (newest === undefined) return;
  const scan = decodeSegmentHeader(readStart(join(walDir, newest), SEGMENT_HEADER_BYTES));
  if (scan.kind === "etcd") {
    const why = `${newest} was written by etcd. ${toImport(dir)}`;
    throw new ForeignDataDirError(walDir, why, "log directory");
  }
  if (scan.kind === "newer") {
    throw new ForeignDataDirError(
      walDir,
      newerFormat(newest, scan.version, scan.writer),
      "log directory",
    );
  }
}

function toImport(dir: string): string {
  return `To carry its keys over: ringctl import --etcd-data-dir ${dir} --data-dir NEW`;
}

function readStart(path: string, lengthMax: number): Uint8Array {
  assert(lengthMax >= SEGMENT_HEADER_BYTES, "a segment's header is looked at as a whole");
  const bytes = new Uint8Array(lengthMax);
  try {
    const descriptor = openSync(path, "r");
    try {
      return bytes.subarray(0, readSync(descriptor, bytes, 0, bytes.length, 0));
    } finally {
      closeSync(descriptor);
    }
  } catch (error) {
    throw new DataDirAccessError(path, error, "log directory");
  }
}

/**
 * Syncs each new directory's parent, or a crash could remove the directory with the log in it. One
 * level at a time also because Node's recursive `mkdir` never returns if the parent exists but the
 * directory cannot be made, as in /proc.
 */
export function makeDir(path: string, role: DirRole): void {
  const missing: string[] = [];
  for (let level = resolve(path); !existsSync(level); level = dirname(level)) missing.push(level);
  try {
    for (const level of missing.reverse()) {
      mkdirIfMissing(level);
      syncDirectory(dirname(level));
    }
    if (missing.length > 0)
      chmodSync(path, DIR_MODE); // Independent of the umask.
    else readdirSync(path); // Throws if it is a file, or not readable.
  } catch (error) {
    throw new DataDirAccessError(path, error, role);
  }
}

/** Another process may make it at the same time; the lock decides which one uses it. */
function mkdirIfMissing(path: string): void {
  try {
    mkdirSync(path, { mode: DIR_MODE });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  }
}
