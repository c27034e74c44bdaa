import { closeSync, openSync, readFileSync, renameSync, unlinkSync, writeSync } from "node:fs";
import { join } from "node:path";
import { DataDirError, DataDirLockedError } from "./errors.js";

/**
 * Keeps two processes out of one data directory.
 *
 * Node has no flock(2), so the lock is a file that names its holder: process id, when that process
 * started, and the boot it started in. A holder that was killed leaves the file behind; it no longer
 * counts when no such process runs now. (A process id alone could meanwhile belong to another program.)
 * Where there is no /proc, the process id has to do.
 */
const LOCK_FILE = "ringd.lock";

export class DataDirLock {
  readonly #path: string;

  private constructor(path: string) {
    this.#path = path;
  }

  /** @throws DataDirLockedError, DataDirError */
  static acquire(dataDir: string): DataDirLock {
    const path = join(dataDir, LOCK_FILE);
    // Twice: the holder of a stale lock is removed in the first round.
    for (let round = 0; round < 2; round++) {
      if (tryCreate(path)) return new DataDirLock(path);
      const holder = readHolder(path);
      if (holder !== undefined && isRunning(holder)) {
        throw new DataDirLockedError(
          `Cannot lock the data directory ${dataDir}: process ${holder.pid} is using it.`,
        );
      }
      removeStale(path);
    }
    throw new DataDirLockedError(
      `Cannot lock the data directory ${dataDir}: another process is taking it at this moment.`,
    );
  }

  release(): void {
    unlinkSync(this.#path);
  }
}

interface Holder {
  readonly pid: number;
  /** In clock ticks since the boot; "" where unknown. */
  readonly startTicks: string;
  readonly bootId: string;
}

function tryCreate(path: string): boolean {
  try {
    const fd = openSync(path, "wx", 0o600);
    writeSync(fd, JSON.stringify(describe(process.pid)));
    closeSync(fd);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw new DataDirError(`Cannot write to the data directory: ${(error as Error).message}`);
  }
}

/** Renamed first: of two processes that both found the lock stale, only one gets to remove it. */
function removeStale(path: string): void {
  const aside = `${path}.${process.pid}`;
  try {
    renameSync(path, aside);
    unlinkSync(aside);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
}

function readHolder(path: string): Holder | undefined {
  try {
    return JSON.parse(readFileSync(path, "utf8")) as Holder;
  } catch {
    return undefined; // Removed meanwhile, or cut off by a crash before it was complete.
  }
}

function isRunning(holder: Holder): boolean {
  if (holder.pid === process.pid) return holder.startTicks === describe(holder.pid).startTicks;
  try {
    process.kill(holder.pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ESRCH") return false;
  }
  const now = describe(holder.pid);
  return now.bootId === holder.bootId && now.startTicks === holder.startTicks;
}

function describe(pid: number): Holder {
  const stat = readText(`/proc/${pid}/stat`);
  // The second field, the program's name, is in parentheses and may contain anything.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return {
    pid,
    startTicks: fields[19] ?? "",
    bootId: readText("/proc/sys/kernel/random/boot_id").trim(),
  };
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
