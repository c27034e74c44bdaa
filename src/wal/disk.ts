import {
  closeSync,
  fdatasyncSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  unlinkSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";

/** A file open for writing. */
export interface DiskFile {
  /** Writes all of `bytes`. @throws an error with a `code` such as ENOSPC; some of it may be written */
  write(bytes: Uint8Array, atBytes: number): void;
  /** Returns when everything written is on the disk. After a failure nobody knows what is. */
  datasync(): void;
  close(): void;
}

/** What the log needs of a file system; tests put a simulated one in its place. */
export interface Disk {
  makeDirectory(directory: string): void;
  list(directory: string): string[];
  read(directory: string, file: string): Buffer;
  create(directory: string, file: string): DiskFile;
  open(directory: string, file: string): DiskFile;
  rename(directory: string, from: string, to: string): void;
  remove(directory: string, file: string): void;
  /** Makes creations, renames and removals in it durable. */
  syncDirectory(directory: string): void;
}

class RealFile implements DiskFile {
  readonly #fd: number;

  constructor(path: string, flags: string) {
    this.#fd = openSync(path, flags, 0o600);
  }

  write(bytes: Uint8Array, atBytes: number): void {
    for (let done = 0; done < bytes.length; ) {
      done += writeSync(this.#fd, bytes, done, bytes.length - done, atBytes + done);
    }
  }

  datasync(): void {
    fdatasyncSync(this.#fd);
  }

  close(): void {
    closeSync(this.#fd);
  }
}

export class RealDisk implements Disk {
  makeDirectory(directory: string): void {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
  }

  list(directory: string): string[] {
    return readdirSync(directory).sort();
  }

  read(directory: string, file: string): Buffer {
    return readFileSync(join(directory, file));
  }

  create(directory: string, file: string): DiskFile {
    return new RealFile(join(directory, file), "w+");
  }

  open(directory: string, file: string): DiskFile {
    return new RealFile(join(directory, file), "r+");
  }

  rename(directory: string, from: string, to: string): void {
    renameSync(join(directory, from), join(directory, to));
  }

  remove(directory: string, file: string): void {
    unlinkSync(join(directory, file));
  }

  syncDirectory(directory: string): void {
    const fd = openSync(directory, "r");
    try {
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
  }
}

/** --unsafe-no-fsync: everything but waiting for the disk. */
export class UnsyncedDisk extends RealDisk {
  override create(directory: string, file: string): DiskFile {
    return withoutSync(super.create(directory, file));
  }

  override open(directory: string, file: string): DiskFile {
    return withoutSync(super.open(directory, file));
  }

  override syncDirectory(): void {}
}

function withoutSync(file: DiskFile): DiskFile {
  return {
    write: (bytes, atBytes) => file.write(bytes, atBytes),
    datasync: () => undefined,
    close: () => file.close(),
  };
}
