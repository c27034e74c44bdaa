import { statSync } from "node:fs";
import { basename, dirname } from "node:path";
import { FORMAT_LEVEL } from "../../cluster/format.js";
import { decodeOrigin, type SnapshotOrigin } from "../../cluster/saved-head.js";
import { decodeSnapshotHead, type SnapshotHead } from "../../cluster/snapshot-head.js";
import { RingdError, systemReason } from "../../lib/errors.js";
import { SnapshotReader } from "../../snap/reader.js";
import { CorruptSnapshotError, DiskError } from "../../storage/errors.js";
import { SnapshotDecodeError } from "../../store/snapshot.js";
import { failure } from "../output/exit.js";

/** A saved snapshot that was read and found sound. */
export interface SavedFile {
  readonly index: number;
  readonly term: number;
  readonly head: SnapshotHead;
  /** Undefined for a member's own snapshot. */
  readonly origin: SnapshotOrigin | undefined;
  readonly bytes: number;
  /** SHA-256 in hex; "" without one. */
  readonly hash: string;
  /** The SHA-256 that its content has, in hex. */
  readonly digest: string;
}

/**
 * Reads a saved snapshot, or a member's own one (member/snap).
 *
 * @param skipsHash accept it without a hash
 * @param onBlock called with each block, valid until it returns; void if this function throws
 * @throws Failure, which names the file, and where it is damaged
 */
export function readSavedFile(
  file: string,
  skipsHash: boolean,
  onBlock: (block: Uint8Array) => void,
): SavedFile {
  try {
    refuseOtherThanFile(file);
    const reader = new SnapshotReader(dirname(file), basename(file), { isSaved: true, skipsHash });
    try {
      return read(reader, file, skipsHash, onBlock);
    } finally {
      reader.close();
    }
  } catch (error) {
    throw toFailure(file, error);
  }
}

function read(
  reader: SnapshotReader,
  file: string,
  skipsHash: boolean,
  onBlock: (block: Uint8Array) => void,
): SavedFile {
  const metadata = Buffer.from(reader.metadata);
  const head = decodeSnapshotHead(metadata, FORMAT_LEVEL);
  for (let block = reader.next(); block !== undefined; block = reader.next()) onBlock(block);
  if (reader.hash === undefined && !skipsHash) {
    throw failure(
      `${file}: there is no SHA-256 at byte ${reader.fileBytes}: the file was cut there, or is a member's own snapshot, which --skip-hash-check accepts`,
    );
  }
  return {
    ...{ index: reader.index, term: reader.term, head },
    origin: decodeOrigin(metadata),
    bytes: reader.fileBytes,
    hash: Buffer.from(reader.hash ?? []).toString("hex"),
    digest: Buffer.from(reader.digest ?? []).toString("hex"),
  };
}

function refuseOtherThanFile(file: string): void {
  const stat = statSync(file);
  if (stat.isFile()) return;
  throw failure(`cannot read ${file}: ${stat.isDirectory() ? "is a directory" : "is not a file"}`);
}

function toFailure(file: string, error: unknown): unknown {
  if (error instanceof CorruptSnapshotError) {
    return failure(`${file} is damaged at byte ${error.atBytes}: ${error.why}`);
  }
  if (error instanceof SnapshotDecodeError || error instanceof SyntaxError) {
    return failure(`${file} is damaged: ${error.message}`);
  }
  if (error instanceof DiskError) {
    return failure(`cannot read ${file}: ${systemReason(error.cause)}`);
  }
  if (error instanceof RingdError)
    return error.code === "CTL_FAILURE" ? error : failure(error.message);
  if ((error as NodeJS.ErrnoException).code === undefined) return error;
  return failure(`cannot read ${file}: ${systemReason(error)}`);
}
