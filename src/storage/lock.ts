import { spawnSync } from "node:child_process";
import {
  closeSync,
  constants,
  fstatSync,
  ftruncateSync,
  linkSync,
  openSync,
  readFileSync,
  readlinkSync,
  renameSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { assert } from "../lib/assert.js";
import { DataDirAccessError, DataDirLockedError } from "./errors.js";
import { Landmark, whatIsMissing } from "./presence.js";

/**
 * Keeps two processes out of one directory.
 *
 * The kernel's lock, flock(2), is released the moment its holder dies, however it dies, and works
 * between containers that share a volume, whatever their pid and network namespaces. Node cannot
 * call it, but the `flock` program (util-linux, busybox) can, on an inherited descriptor: the lock
 * belongs to the shared open file, so it outlives the program and ends when our descriptor is
 * closed. It takes 3 ms, once.
 *
 * Considered and rejected: a listening socket in the abstract namespace (not seen from another
 * network namespace, asynchronous), a socket file (must be removed when stale, and two that remove
 * it race), a native add-on (a binary to build for one system call).
 *
 * Without a `flock` program the lock is a second file that names its holder: process id, its start
 * time, boot, pid namespace. It is stale if the holder is known not to run. A holder in another pid
 * namespace of the same boot is invisible, so the file must then be removed by hand. It is weaker
 * than the kernel's lock: if three processes find one stale file within the same millisecond, two
 * of them may get it.
 *
 * The file `lock` stays when the lock is released: removing it would let two processes lock two
 * files of one name.
 */
export interface DirLock {
  /** Kind of lock: the kernel's, a file that names the holder, or none. */
  readonly kind: "flock" | "file" | "none";
  /**
   * Checks for removal of the lock's file, which lets a second process in while we keep the lock.
   *
   * @returns why the lock no longer excludes others, or undefined
   */
  missing(): string | undefined;
  release(): void;
}

const LOCK_FILE = "lock";
const HOLDER_FILE = "lock.holder";
/** Errors of a program that is missing or not executable. */
const NO_PROGRAM = ["ENOENT", "ENOTDIR", "EACCES", "EPERM", "ENOEXEC", "ENOSYS"];

/** The holder of a lock, as stored in the file. */
interface Holder {
  readonly pid: number;
  /** Clock ticks since boot; "" without /proc. */
  readonly startTime: string;
  readonly bootId: string;
  readonly pidNamespace: string;
}

/**
 * Locks a directory until `release`, or the end of the process. Blocks for some milliseconds. If
 * called in a worker, the lock ends with the worker.
 *
 * @param dir exists
 * @param flockProgram for tests
 * @throws DataDirLockedError, DataDirAccessError
 */
export function lockDir(dir: string, flockProgram = "flock"): DirLock {
  const descriptor = openLockFile(dir);
  const path = join(dir, LOCK_FILE);
  const outcome = tryFlock(dir, descriptor, flockProgram);
  if (outcome === "held") throw new DataDirLockedError(dir, readHolder(path)?.pid);
  // Check for the other kind of lock only once ours is visible: of two processes, at least one then
  // sees the other.
  const other = join(dir, outcome === "locked" ? HOLDER_FILE : LOCK_FILE);
  const lock = outcome === "locked" ? flockOf(descriptor, path) : lockByFile(dir);
  if (outcome === "locked") writeHolder(descriptor);
  const holder = readHolder(other);
  if (holder === undefined || !isRunning(holder)) return lock;
  lock.release();
  throw new DataDirLockedError(dir, holder.pid);
}

/**
 * The log's directory is locked itself: the data directory's lock does not protect a `--wal-dir`
 * shared by two members, nor does it once its file was removed. Not all file systems lock
 * directories.
 *
 * @throws DataDirLockedError, DataDirAccessError
 */
export function lockLogDir(dir: string, flockProgram = "flock"): DirLock {
  let descriptor: number;
  try {
    descriptor = openSync(dir, constants.O_RDONLY);
  } catch (error) {
    throw new DataDirAccessError(dir, error, "log directory");
  }
  const outcome = tryFlock(dir, descriptor, flockProgram);
  if (outcome === "locked") return flockOf(descriptor, dir);
  if (outcome === "held") throw new DataDirLockedError(dir, undefined, "log");
  return { kind: "none", missing: () => undefined, release: () => undefined };
}

/**
 * "impossible" without a `flock` program, or if it cannot lock (busybox without -n, a file system
 * without locks). If an existing program fails to run this time, that is an error: another process
 * may hold the kernel's lock, so do not fall back to a weaker one.
 *
 * @param descriptor is closed unless it is locked
 * @throws DataDirAccessError
 */
function tryFlock(
  dir: string,
  descriptor: number,
  program: string,
): "locked" | "held" | "impossible" {
  const { error, status, signal } = spawnSync(program, ["-n", "3"], {
    stdio: ["ignore", "ignore", "ignore", descriptor],
  });
  if (error === undefined && status === 0) return "locked";
  closeSync(descriptor);
  if (error !== undefined) {
    if (NO_PROGRAM.includes((error as NodeJS.ErrnoException).code ?? "")) return "impossible";
    throw new DataDirAccessError(dir, error);
  }
  if (status === null) throw new DataDirAccessError(dir, `${program} was ended by ${signal}`);
  return status === 1 ? "held" : "impossible";
}

/** For other processes' error messages. Ignores a full disk: the lock holds without it. */
function writeHolder(descriptor: number): void {
  const text = Buffer.from(`${JSON.stringify(self())}\n`);
  try {
    writeSync(descriptor, text, 0, text.length, 0);
    ftruncateSync(descriptor, text.length);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === undefined) throw error;
  }
}

function flockOf(descriptor: number, path: string): DirLock {
  let isHeld = true;
  return {
    kind: "flock",
    missing: () => whatIsMissing(path, fstatSync(descriptor, { bigint: true })),
    release: () => {
      assert(isHeld, "a lock is released once"); // Its descriptor may be reused by now.
      isHeld = false;
      closeSync(descriptor);
    },
  };
}

function openLockFile(dir: string): number {
  try {
    return openSync(join(dir, LOCK_FILE), constants.O_RDWR | constants.O_CREAT, 0o600);
  } catch (error) {
    throw new DataDirAccessError(dir, error);
  }
}

function lockByFile(dir: string): DirLock {
  const path = join(dir, HOLDER_FILE);
  const own = join(dir, `${HOLDER_FILE}.${process.pid}.${process.hrtime.bigint()}`);
  try {
    writeFileSync(own, JSON.stringify(self()), { mode: 0o600, flag: "wx" });
  } catch (error) {
    throw new DataDirAccessError(dir, error);
  }
  try {
    // Linking a finished file shows others the whole text or nothing, and fails if the name is
    // taken.
    if (!tryLink(own, path)) {
      const holder = readHolder(path);
      if (holder === undefined || !isGone(holder)) throw new DataDirLockedError(dir, holder?.pid);
      takeAway(dir, path, holder);
      if (!tryLink(own, path)) throw new DataDirLockedError(dir, readHolder(path)?.pid);
    }
  } finally {
    unlinkSync(own);
  }
  const mine = new Landmark(path);
  return {
    kind: "file",
    missing: () => mine.missing(),
    release: () => {
      if (mine.missing() === undefined) unlinkSync(path);
      mine.close();
    },
  };
}

/** Removes a stale holder's file, unless another process has just replaced it by its own. */
function takeAway(dir: string, path: string, stale: Holder): void {
  const aside = `${path}.stale.${process.pid}`;
  try {
    renameSync(path, aside);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return;
    throw new DataDirAccessError(dir, error);
  }
  const moved = readHolder(aside);
  const isStale = moved?.pid === stale.pid && moved.startTime === stale.startTime;
  if (!isStale) tryLink(aside, path);
  unlinkSync(aside);
  if (!isStale) throw new DataDirLockedError(dir, moved?.pid);
}

function tryLink(source: string, target: string): boolean {
  try {
    linkSync(source, target);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw new DataDirAccessError(target, error);
  }
}

/** True only if the holder certainly runs. */
function isRunning(holder: Holder): boolean {
  const { bootId, pidNamespace, startTime } = self();
  if (bootId === "" || startTime === "" || bootId !== holder.bootId) return false;
  if (pidNamespace === "" || pidNamespace !== holder.pidNamespace) return false;
  return startTimeOf(holder.pid) === holder.startTime;
}

/** True only if the holder certainly does not run. */
function isGone(holder: Holder): boolean {
  const { bootId, pidNamespace } = self();
  if (bootId !== "" && holder.bootId !== "" && bootId !== holder.bootId) return true;
  if (pidNamespace !== holder.pidNamespace) return false;
  if (holder.startTime !== "") return startTimeOf(holder.pid) !== holder.startTime;
  try {
    process.kill(holder.pid, 0);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ESRCH";
  }
}

function readHolder(path: string): Holder | undefined {
  try {
    const { pid, startTime, bootId, pidNamespace } = JSON.parse(readFileSync(path, "utf8"));
    if (!Number.isSafeInteger(pid)) return undefined;
    return {
      pid,
      startTime: String(startTime),
      bootId: String(bootId),
      pidNamespace: String(pidNamespace),
    };
  } catch {
    return undefined; // Removed, or not yet written: no holder is known.
  }
}

function self(): Holder {
  return {
    pid: process.pid,
    startTime: startTimeOf(process.pid),
    bootId: readOr("", () => readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim()),
    pidNamespace: readOr("", () => readlinkSync("/proc/self/ns/pid")),
  };
}

/**
 * Field 22 of /proc/<pid>/stat; fields are counted from the last ")" as the program's name may hold
 * any.
 */
function startTimeOf(pid: number): string {
  return readOr("", () => {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? "";
  });
}

function readOr(otherwise: string, read: () => string): string {
  try {
    return read();
  } catch {
    return otherwise; // No /proc here, or no such process.
  }
}
