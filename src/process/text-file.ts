import { closeSync, constants, openSync, readSync, statSync } from "node:fs";
import { RingdError } from "../lib/errors.js";

/** Files that flags name: whatever they are, reading or opening them ends. */

const CHUNK_BYTES = 64 * 1024;
/** Of /dev/null there is nothing, of a terminal a little, and of others no end. */
const DEVICE_BYTES_MAX = 64 * 1024;
/** A shell's `<(command)` and /dev/stdin are pipes with somebody at the other end. */
const INHERITED_PIPE = /^\/(dev|proc)\//;

/** A file that is there and of no use. Its message is the reason alone. */
export class TextFileError extends RingdError {
  override readonly name = "TextFileError";
  readonly code = "TEXT_FILE";
}

/** @throws TextFileError; Error of node:fs */
export function readTextFile(path: string, bytesMax: number): string {
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
      if (count === 0) return Buffer.concat(chunks).toString("utf8");
      bytes += count;
      if (bytes > limit) {
        const what = isDevice ? "is a device that goes on and on" : `is larger than ${limit} bytes`;
        throw new TextFileError(what);
      }
      chunks.push(chunk.subarray(0, count));
    }
  } finally {
    closeSync(descriptor);
  }
}

/**
 * Before a file is opened to be written: opening a named pipe would wait for a reader.
 *
 * @throws TextFileError
 */
export function refuseUnreadPipe(path: string): void {
  if (statSync(path, { throwIfNoEntry: false })?.isFIFO() !== true) return;
  try {
    closeSync(openSync(path, constants.O_WRONLY | constants.O_NONBLOCK));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENXIO") throw error;
    throw new TextFileError("is a named pipe that nobody reads");
  }
}
