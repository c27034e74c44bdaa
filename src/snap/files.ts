import {
  closeSync,
  fsyncSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  unlinkSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import {
  encodeBlockHead,
  encodeSnapshotHead,
  parseSnapshotFile,
  readBlocks,
  readSnapshotHead,
  type SnapshotHead,
  snapshotFile,
} from "./format.js";

const TEMPORARY = ".snap.tmp";

/** Writes one snapshot file; it has its name only once it is whole and durable. */
export class SnapshotWriter {
  readonly #directory: string;
  readonly #file: string;
  readonly #temporary: string;
  readonly #fd: number;
  #crc: number;

  constructor(directory: string, head: SnapshotHead) {
    this.#directory = directory;
    this.#file = snapshotFile(head.term, head.index);
    this.#temporary = join(directory, `${this.#file.replace(/\.snap$/, "")}${TEMPORARY}`);
    this.#fd = openSync(this.#temporary, "w", 0o600);
    const { bytes, crc } = encodeSnapshotHead(head);
    this.#write(bytes);
    this.#crc = crc;
  }

  writeBlock(payload: Uint8Array): void {
    const { bytes, crc } = encodeBlockHead(payload, this.#crc);
    this.#crc = crc;
    this.#write(bytes);
    this.#write(payload);
  }

  /** @returns the file's name */
  finish(): string {
    this.writeBlock(new Uint8Array(0));
    fsyncSync(this.#fd);
    closeSync(this.#fd);
    renameSync(this.#temporary, join(this.#directory, this.#file));
    syncDirectory(this.#directory);
    return this.#file;
  }

  abort(): void {
    closeSync(this.#fd);
    unlinkSync(this.#temporary);
  }

  #write(bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length; ) {
      done += writeSync(this.#fd, bytes, done, bytes.length - done);
    }
  }
}

/** Snapshots in a directory, newest first. */
export function listSnapshots(directory: string): { file: string; term: number; index: number }[] {
  return readdirSync(directory)
    .map(parseSnapshotFile)
    .filter((name) => name !== undefined)
    .sort((a, b) => b.index - a.index || b.term - a.term);
}

/** Removes what a crash left unfinished. */
export function removeTemporarySnapshots(directory: string): void {
  for (const file of readdirSync(directory)) {
    if (file.endsWith(TEMPORARY)) unlinkSync(join(directory, file));
  }
}

/** Removes the oldest snapshots beyond `keep`; 0 keeps all. */
export function purgeSnapshots(directory: string, keep: number): void {
  if (keep === 0) return;
  for (const { file } of listSnapshots(directory).slice(keep)) unlinkSync(join(directory, file));
}

/**
 * Opens a snapshot; its blocks are read as they are asked for.
 *
 * @throws SnapshotCorruptError here or while the blocks are read
 */
export function openSnapshot(
  directory: string,
  file: string,
): { head: SnapshotHead; blocks: Generator<Buffer>; close(): void } {
  const fd = openSync(join(directory, file), "r");
  const read = (atBytes: number, bytes: number): Buffer => {
    const buffer = Buffer.allocUnsafe(bytes);
    let done = 0;
    while (done < bytes) {
      const got = readSync(fd, buffer, done, bytes - done, atBytes + done);
      if (got === 0) break;
      done += got;
    }
    return buffer.subarray(0, done);
  };
  const { head, blocksAt, crc } = readSnapshotHead(file, read);
  return { head, blocks: readBlocks(file, read, blocksAt, crc), close: () => closeSync(fd) };
}

function syncDirectory(directory: string): void {
  const fd = openSync(directory, "r");
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
