import { spawnSync } from "node:child_process";
import {
  closeSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  statSync,
} from "node:fs";

/**
 * The first of the files on which another process has a lock. etcd locks each segment of its log,
 * by a lock of the open file (OFD), or with flock(2) on systems without; bbolt uses flock(2).
 *
 * /proc/locks lists locks of all kinds, and reading it takes none. Where it is missing, the `flock`
 * program tries, which sees flock(2) only.
 *
 * @param files exist
 */
export function lockedFile(files: readonly string[]): string | undefined {
  const locks = readLocks();
  return files.find((file) => (locks === undefined ? isFlocked(file) : isListed(file, locks)));
}

/** A lock's file: `fe:00` and an inode number. */
interface ListedLock {
  readonly device: string;
  readonly inode: string;
}

/**
 *   4: OFDLCK ADVISORY  WRITE -1 fe:00:2264606 0 EOF
 *
 * @returns undefined if /proc is not Linux's, or is hidden from this process
 */
function readLocks(): readonly ListedLock[] | undefined {
  const text = readOr(undefined, () => readFileSync("/proc/locks", "utf8"));
  const pattern = /^\d+: (?:OFDLCK|FLOCK|POSIX) .*? ([0-9a-f]+:[0-9a-f]+):(\d+) /gm;
  return text === undefined
    ? undefined
    : [...text.matchAll(pattern)].map(([, device = "", inode = ""]) => ({ device, inode }));
}

function isListed(file: string, locks: readonly ListedLock[]): boolean {
  const { dev, ino } = statSync(file, { bigint: true });
  const device = [(dev >> 8n) & 0xfffn, (dev & 0xffn) | ((dev >> 12n) & 0xfff00n)]
    .map((part) => part.toString(16).padStart(2, "0"))
    .join(":");
  const same = locks.filter(({ inode }) => inode === String(ino));
  if (same.some((lock) => lock.device === device)) return true;
  // btrfs and overlayfs have another device number in stat than in the kernel's list.
  return same.length > 0 && isOpenElsewhere(realpathSync(file));
}

function isOpenElsewhere(path: string): boolean {
  const processes = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  return processes.some((pid) => {
    if (Number(pid) === process.pid) return false;
    const descriptors = readOr([], () => readdirSync(`/proc/${pid}/fd`));
    return descriptors.some(
      (fd) => readOr("", () => readlinkSync(`/proc/${pid}/fd/${fd}`)) === path,
    );
  });
}

function isFlocked(file: string): boolean {
  const descriptor = openSync(file, "r");
  try {
    const stdio = ["ignore", "ignore", "ignore", descriptor] as const;
    return spawnSync("flock", ["-n", "3"], { stdio: [...stdio] }).status === 1;
  } finally {
    closeSync(descriptor);
  }
}

/** Processes end, and files of /proc may be unreadable. */
function readOr<T>(otherwise: T, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === undefined) throw error;
    return otherwise;
  }
}
