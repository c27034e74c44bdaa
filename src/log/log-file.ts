import { closeSync, openSync, writeSync } from "node:fs";
import { Writable } from "node:stream";
import { refuseUnreadPipe } from "../process/text-file.js";

const FILE_MODE = 0o600;

/**
 * A log output that is a file. Each line is written before the call returns. Once the shared count
 * of reopenings has moved on, as after a rotation, the next line goes to the file that then has the
 * path. Lines that cannot be written, on a full disk or a broken pipe, are lost.
 */
export class LogFile extends Writable {
  readonly #path: string;
  readonly #reopenings: () => number;
  #seen: number;
  #fd: number;

  /** @throws Error of the system if it cannot be opened */
  constructor(path: string, reopenings: () => number) {
    super({ decodeStrings: false });
    this.#path = path;
    this.#reopenings = reopenings;
    this.#seen = reopenings();
    this.#fd = open(path);
  }

  override _write(line: string | Buffer, _encoding: string, done: () => void): void {
    const seen = this.#reopenings();
    if (seen !== this.#seen) this.#reopen(seen);
    try {
      const bytes = Buffer.from(line);
      for (let at = 0; at < bytes.length; ) at += writeSync(this.#fd, bytes, at);
    } catch {
      // Nobody can be told.
    }
    done();
  }

  #reopen(seen: number): void {
    this.#seen = seen;
    try {
      const fd = open(this.#path);
      closeSync(this.#fd);
      this.#fd = fd;
    } catch {
      // The former file is better than none.
    }
  }
}

function open(path: string): number {
  refuseUnreadPipe(path);
  return openSync(path, "a", FILE_MODE);
}
