import {
  chmodSync,
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
} from "node:fs";
import { dirname, join, resolve } from "node:path";
import { syncDirectory } from "./disk.js";
import { DataDirAccessError, ForeignDataDirError } from "./errors.js";
import { decodeSegmentHeader, parseSegmentName, SEGMENT_HEADER_BYTES } from "./segment.js";

/**
 * A data directory:
 *
 *   <data-dir>/lock            lock.ts
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

/** What the directory was last started as. */
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
 * Makes a member's directories where they are missing, durably, with mode 0700. Looks before it
 * touches: a directory that etcd or a newer ringd wrote is left as it is.
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
  for (const candidate of [walDir, join(dir, "member", "wal")]) checkLog(candidate);
  if (existsSync(join(snapDir, "db"))) {
    throw new ForeignDataDirError(dir, "it was written by etcd (member/snap/db)");
  }
  for (const path of [dir, snapDir, walDir]) makeDir(path);
  return { dir, walDir, snapDir };
}

/** Looks at the beginning of the newest segment only: recovery reads them all. */
function checkLog(walDir: string): void {
  if (!existsSync(walDir)) return;
  let names: string[];
  try {
    names = readdirSync(walDir);
  } catch (error) {
    throw new DataDirAccessError(walDir, error);
  }
  const newest = names
    .filter((name) => parseSegmentName(name) !== undefined)
    .sort()
    .at(-1);
  if (newest === undefined) return;
  const scan = decodeSegmentHeader(readStart(join(walDir, newest)));
  if (scan.kind === "etcd") {
    throw new ForeignDataDirError(walDir, `${newest} was written by etcd`);
  }
  if (scan.kind === "newer") {
    throw new ForeignDataDirError(
      walDir,
      `${newest} was written by a newer ringd (format version ${scan.version})`,
    );
  }
}

function readStart(path: string): Uint8Array {
  const bytes = new Uint8Array(SEGMENT_HEADER_BYTES);
  try {
    const descriptor = openSync(path, "r");
    try {
      return bytes.subarray(0, readSync(descriptor, bytes, 0, bytes.length, 0));
    } finally {
      closeSync(descriptor);
    }
  } catch (error) {
    throw new DataDirAccessError(path, error);
  }
}

/** Every new level is synced into the one above, or the log in it could vanish with its directory. */
function makeDir(path: string): void {
  try {
    const first = mkdirSync(path, { recursive: true, mode: DIR_MODE });
    if (first === undefined) return;
    chmodSync(path, DIR_MODE); // Whatever the umask was.
    const top = resolve(first);
    for (let level = resolve(path); ; level = dirname(level)) {
      syncDirectory(dirname(level));
      if (level === top) break;
    }
  } catch (error) {
    throw new DataDirAccessError(path, error);
  }
}
