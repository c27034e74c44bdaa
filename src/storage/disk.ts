import {
  closeSync,
  constants,
  fdatasyncSync,
  fstatSync,
  fsyncSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  unlinkSync,
  writeFileSync,
  writeSync,
  writevSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { assert, unreachable } from "../lib/assert.js";
import type { DiskOp } from "./disk-op.js";
import { DiskError } from "./errors.js";
import { whatIsMissing } from "./presence.js";

/**
 * One flat directory of files. Implemented by real files here and by a faulty disk in the tests.
 */
export interface Disk {
  /** For error messages. */
  readonly dir: string;
  /** Names of the files, in no particular order. */
  list(): string[];
  /** The whole file. The caller owns the bytes. @throws DiskError */
  read(file: string): Uint8Array;
  /**
   * Executes one step. After an error, part of it may have happened.
   *
   * @throws DiskError
   */
  run(op: DiskOp): void;
  /** Closes every file. */
  close(): void;
}

/**
 * A directory of the file system. Synchronous: for threads that may block.
 *
 * A file stays open from its first use to its `close` or `unlink`: the kernel reports a failed
 * write-back once per open file, after which an fsync may succeed with the data lost, so we must
 * not miss the report.
 */
export class FileDisk implements Disk {
  readonly dir: string;
  readonly #open = new Map<string, number>();
  #directoryDescriptor: number | undefined;

  constructor(dir: string) {
    this.dir = dir;
  }

  list(): string[] {
    return this.#try("list", "", () => readdirSync(this.dir));
  }

  read(file: string): Uint8Array {
    return this.#try("read", file, () => readFileSync(join(this.dir, file)));
  }

  run(op: DiskOp): void {
    switch (op.op) {
      case "create":
        this.#create(op.file);
        break;
      case "write":
        this.#try(op.op, op.file, () =>
          writeFully(this.#descriptor(op.file), op.chunks, op.atBytes),
        );
        break;
      case "datasync":
        this.#try(op.op, op.file, () => fdatasyncSync(this.#descriptor(op.file)));
        break;
      case "rename":
        this.#rename(op.from, op.to);
        break;
      case "unlink":
        this.#close(op.file);
        this.#try(op.op, op.file, () => unlinkIfThere(join(this.dir, op.file)));
        break;
      case "close":
        this.#close(op.file);
        break;
      case "syncDirectory":
        this.#try(op.op, "", () => fsyncSync(this.#directory()));
        break;
      default:
        unreachable(op);
    }
  }

  close(): void {
    for (const file of [...this.#open.keys()]) this.#close(file);
    if (this.#directoryDescriptor !== undefined) closeSync(this.#directoryDescriptor);
    this.#directoryDescriptor = undefined;
  }

  /**
   * Checks that an open file is still the directory's file of that name. Two system calls.
   *
   * @returns why not, or undefined
   */
  missing(file: string): string | undefined {
    const descriptor = this.#open.get(file);
    return descriptor === undefined
      ? undefined
      : whatIsMissing(join(this.dir, file), fstatSync(descriptor, { bigint: true }));
  }

  /** Stays open: a failed write-back is reported only once, and descriptors may run out later. */
  #directory(): number {
    this.#directoryDescriptor ??= openSync(this.dir, constants.O_RDONLY);
    return this.#directoryDescriptor;
  }

  #create(file: string): void {
    this.#close(file);
    const flags = constants.O_RDWR | constants.O_CREAT | constants.O_TRUNC;
    const open = () => openSync(join(this.dir, file), flags, 0o600);
    this.#open.set(file, this.#try("create", file, open));
  }

  #rename(source: string, target: string): void {
    assert(source !== target, "a file gets another name");
    const rename = () => renameSync(join(this.dir, source), join(this.dir, target));
    this.#try("rename", source, rename);
    const descriptor = this.#open.get(source);
    if (descriptor === undefined) return;
    this.#close(target); // The replaced file, if any.
    this.#open.delete(source);
    this.#open.set(target, descriptor);
  }

  #descriptor(file: string): number {
    const known = this.#open.get(file);
    if (known !== undefined) return known;
    const descriptor = openSync(join(this.dir, file), constants.O_RDWR);
    this.#open.set(file, descriptor);
    return descriptor;
  }

  #close(file: string): void {
    const descriptor = this.#open.get(file);
    if (descriptor === undefined) return;
    this.#open.delete(file);
    closeSync(descriptor);
  }

  #try<T>(call: string, file: string, action: () => T): T {
    try {
      return action();
    } catch (error) {
      const errno = (error as NodeJS.ErrnoException).code ?? "EUNKNOWN";
      throw new DiskError(call, join(this.dir, file), errno, error);
    }
  }
}

/** It may have been removed by hand: the result is the same. */
function unlinkIfThere(path: string): void {
  try {
    unlinkSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
}

/** One system call, unless it writes only a part, as on a disk that becomes full. */
function writeFully(descriptor: number, chunks: readonly Uint8Array[], atBytes: number): void {
  assert(chunks.length > 0 && atBytes >= 0, "there is something to write, and a place for it");
  let written =
    chunks.length === 1
      ? writeSync(descriptor, chunks[0] as Uint8Array, 0, undefined, atBytes)
      : writevSync(descriptor, chunks, atBytes);
  let skip = written;
  for (const chunk of chunks) {
    let from = Math.min(skip, chunk.length);
    skip -= from;
    while (from < chunk.length) {
      const wrote = writeSync(descriptor, chunk, from, chunk.length - from, atBytes + written);
      from += wrote;
      written += wrote;
    }
  }
}

/** Makes new names, renames and removals in a directory durable. */
export function syncDirectory(dir: string): void {
  const descriptor = openSync(dir, constants.O_RDONLY);
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

/** Replaces a small file as a whole; durable on return. @throws Error of the file system */
export function replaceFile(path: string, text: string): void {
  const temporary = `${path}.tmp`;
  writeFileSync(temporary, text, { mode: 0o600, flush: true });
  renameSync(temporary, path);
  syncDirectory(dirname(path));
}
