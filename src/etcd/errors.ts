import { RingdError, systemReason } from "../lib/errors.js";

/** A file of an etcd directory is damaged. */
export class EtcdFileError extends RingdError {
  override readonly name = "EtcdFileError";
  readonly code = "ETCD_FILE_DAMAGED";
  readonly file: string;
  readonly atBytes: number;

  constructor(file: string, atBytes: number, why: string) {
    super(`Cannot read ${file} at byte ${atBytes}: ${why}`);
    this.file = file;
    this.atBytes = atBytes;
  }
}

/** A directory cannot be used as etcd's: missing, of something else, incomplete, or in use. */
export class EtcdDirError extends RingdError {
  override readonly name = "EtcdDirError";
  readonly code = "ETCD_DIR_UNUSABLE";

  constructor(dir: string, why: unknown) {
    super(`Cannot use etcd directory ${dir}: ${typeof why === "string" ? why : systemReason(why)}`);
  }
}
