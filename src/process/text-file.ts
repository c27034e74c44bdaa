import { closeSync, constants, openSync, readSync, statSync } from "node:fs";
import { RingdError } from "../lib/errors.js";

/** Reads and opens the files that flags name, without blocking on pipes or endless devices. */

const CHUNK_BYTES = 64 * 1024;
/** Enough for /dev/null and a terminal; other devices are endless. */
const DEVICE_BYTES_MAX = 64 * 1024;
/** A shell's `<(command)` and /dev/stdin are pipes that have a writer. */
const INHERITED_PIPE = /^\/(dev|proc)\//;

/** A file that exists and is unusable. The message is the reason alone. */
export class TextFileError extends RingdError {
  override readonly name = "TextFileError";
  readonly code = "TEXT_FILE";
}

/** @throws TextFileError; Error of node:fs */
export function readTextFile(path: string, bytesMax: number): string {
  return readFlagFile(path, bytesMax).toString("utf8");
}

/** @throws TextFileError; Error of node:fs */
export function readFlagFile(path: string, bytesMax: number): Buffer {
  const stat = statSync(path);
  if (stat.isFIFO() && !INHERITED_PIPE.test(path)) throw new TextFileError("is a named pipe");
  const isDevice = stat.isCharacterDevice() || stat.isBlockDevice();
  const limit = isDevice ? Math.min(DEVICE_BYTES_MAX, bytesMax) : bytesMax;
  const descriptor = openSync(path, "r");
  try {
    const chunks: Buffer[] = [];
    for (let bytes = 0; ; ) {
      const chunk = Buffer.allocUnsafe(CHUNK_BYTES);
      const count = readSync(descriptor, chunk);
      if (count === 0) return Buffer.concat(chunks);
      bytes += count;
      if (bytes > limit) {
        const what = isDevice ? "is an endless device" : `is larger than ${limit} bytes`;
        throw new TextFileError(what);
      }
      chunks.push(chunk.subarray(0, count));
    }
  } finally {
    closeSync(descriptor);
  }
}

/**
 * Call before opening a file for writing: opening a named pipe blocks until it has a reader.
 *
 * @throws TextFileError
 */
export function refuseUnreadPipe(path: string): void {
  if (statSync(path, { throwIfNoEntry: false })?.isFIFO() !== true) return;
  try {
    closeSync(openSync(path, constants.O_WRONLY | constants.O_NONBLOCK));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENXIO") throw error;
    throw new TextFileError("is a named pipe without a reader");
  }
}
