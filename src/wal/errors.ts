import { RingdError } from "../lib/errors.js";

/** Bytes on the disk that were once synced are not what was written. The member must not start. */
export class CorruptRecordError extends RingdError {
  override readonly name = "CorruptRecordError";
  readonly code = "LOG_CORRUPT";
  readonly why: string;

  constructor(file: string, atBytes: number, why: string) {
    super(
      `Cannot read ${file} at byte ${atBytes}: ${why}. The disk lost or changed data. ` +
        "Remove this member from its cluster and add it again with an empty data directory, or restore a backup.",
    );
    this.why = why;
  }
}

/** A segment or entry between others is not there. */
export class LogGapError extends RingdError {
  override readonly name = "LogGapError";
  readonly code = "LOG_GAP";
}

/** No space: nothing was acknowledged, nothing is lost, and the same call may succeed later. */
export class LogFullError extends RingdError {
  override readonly name = "LogFullError";
  readonly code = "LOG_FULL";
}

/** The disk failed: what it holds is unknown until it is read again, so this log takes no more. */
export class LogFailedError extends RingdError {
  override readonly name = "LogFailedError";
  readonly code = "LOG_FAILED";
}

/** The directory is not ours, not of this version, or cannot be used. */
export class DataDirError extends RingdError {
  override readonly name = "DataDirError";
  readonly code = "DATA_DIR_UNUSABLE";
}

/** Another process has it. */
export class DataDirLockedError extends RingdError {
  override readonly name = "DataDirLockedError";
  readonly code = "DATA_DIR_LOCKED";
}
