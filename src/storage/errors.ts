import { RingdError, systemReason } from "../lib/errors.js";

/** Errors of a data directory's files: of disks and operators, never our bugs. */

/** Damage that is not a torn tail (rules 2 and 4 of record.ts). The member must not start. */
export class CorruptRecordError extends RingdError {
  override readonly name = "CorruptRecordError";
  readonly code = "WAL_CORRUPT";
  readonly file: string;
  readonly atBytes: number;

  constructor(file: string, atBytes: number, why: string) {
    super(
      `Cannot read WAL record at byte ${atBytes} of ${file}: ${why}. ` +
        "Nothing was changed. Restore the data directory from a backup, or remove this member from " +
        "the cluster and add it again with an empty data directory",
    );
    this.file = file;
    this.atBytes = atBytes;
  }
}

/** A segment is missing, or the log does not reach back to the snapshot. */
export class LogGapError extends RingdError {
  override readonly name = "LogGapError";
  readonly code = "WAL_GAP";

  constructor(what: string) {
    super(
      `Cannot use the log: ${what}. Nothing was changed. Put the missing file back, restore the data ` +
        "directory from a backup, or remove this member and add it again with an empty data directory",
    );
  }
}

/**
 * No space left for the log. Everything acknowledged is on disk; appends since the last sync stay
 * queued, and `sync()` may be called again once there is space.
 */
export class LogFullError extends RingdError {
  override readonly name = "LogFullError";
  readonly code = "WAL_FULL";
  /** False if something else was lacking, such as file descriptors. */
  readonly isForSpace: boolean;

  constructor(cause: DiskError) {
    super(`Cannot extend the log: ${cause.message}`, { cause });
    this.isForSpace = cause.isForSpace;
  }
}

/**
 * A write or a flush of the log failed, so the disk's content is unknown; or its files are no
 * longer in place. The log accepts nothing more until the process has restarted and replayed it.
 */
export class LogFailedError extends RingdError {
  override readonly name = "LogFailedError";
  readonly code = "WAL_FAILED";

  constructor(cause: unknown) {
    const why = cause instanceof Error ? cause.message : String(cause);
    super(`Cannot write the log: ${why}. Restart the member once the disk is sound`, { cause });
  }
}

const WANTS = ["EMFILE", "ENFILE", "ENOMEM", "EAGAIN", "EINTR"];

/** A failed system call on a file. */
export class DiskError extends RingdError {
  override readonly name = "DiskError";
  readonly code = "DISK_FAILED";
  /** The system's error code: "ENOSPC", "EIO". */
  readonly errno: string;
  /** The failed call: "write", "datasync". */
  readonly call: string;

  constructor(call: string, file: string, errno: string, cause?: unknown) {
    super(`${errno} on ${call} of ${file}`, { cause });
    this.call = call;
    this.errno = errno;
  }

  /** True if it failed for lack of space: a full disk, a quota, or the limit of a file's size. */
  get isForSpace(): boolean {
    return this.errno === "ENOSPC" || this.errno === "EDQUOT" || this.errno === "EFBIG";
  }

  /** True if it failed for lack of a resource that may return: space, file descriptors, memory. */
  get isForWant(): boolean {
    return this.isForSpace || WANTS.includes(this.errno);
  }
}

/** Purpose of a directory, for error messages: several flags name directories. */
export type DirRole =
  | "data directory"
  | "log directory"
  | "snapshot directory"
  | "backup directory";

/** Another process uses the directory. */
export class DataDirLockedError extends RingdError {
  override readonly name = "DataDirLockedError";
  readonly code = "DATA_DIR_LOCKED";

  /** @param holder process id as stored by the holder; undefined if not stored (yet) */
  constructor(dir: string, holder: number | undefined, role: "data" | "log" = "data") {
    const who = holder === undefined ? "another process" : `process ${holder}`;
    super(`cannot lock ${role} dir ${dir}: ${who} is using it`);
  }
}

/** The directory belongs to something else: etcd, a newer ringd, both a member and a proxy. */
export class ForeignDataDirError extends RingdError {
  override readonly name = "ForeignDataDirError";
  readonly code = "DATA_DIR_FOREIGN";

  constructor(dir: string, why: string, role: DirRole = "data directory") {
    super(`Cannot use ${role} ${dir}: ${why}`);
  }
}

/** The directory cannot be made, listed or written. */
export class DataDirAccessError extends RingdError {
  override readonly name = "DataDirAccessError";
  readonly code = "DATA_DIR_ACCESS";

  /** @param role of the directory: --data-dir and --wal-dir may both be given */
  constructor(dir: string, cause: unknown, role: DirRole = "data directory") {
    super(`Cannot use ${role} ${dir}: ${systemReason(cause)}`, { cause });
  }
}

/** A damaged snapshot file. */
export class CorruptSnapshotError extends RingdError {
  override readonly name = "CorruptSnapshotError";
  readonly code = "SNAPSHOT_CORRUPT";
  readonly file: string;
  readonly atBytes: number;
  readonly why: string;

  constructor(file: string, atBytes: number, why: string) {
    super(
      `Cannot read snapshot block at byte ${atBytes} of ${file}: ${why}. Nothing was changed. ` +
        "Move the file away to start from the snapshot before it, which works if the log still " +
        "reaches back that far and is rejected otherwise; or restore the data directory from a backup",
    );
    this.file = file;
    this.atBytes = atBytes;
    this.why = why;
  }
}
