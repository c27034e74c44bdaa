import { type BigIntStats, closeSync, fstatSync, openSync, statSync } from "node:fs";

/**
 * Checks that files and directories in use are still in place. A file that was removed, moved or
 * unmounted can still be written through its open descriptor: nothing fails, and at the next start
 * it is missing.
 */

/** Errors of stat that do not prove that the file is missing. */
const UNTOLD = ["EACCES", "EPERM", "ENOMEM", "EINTR", "EAGAIN"];

/**
 * A path that must keep naming the same file. Keeps it open: on some file systems only open files
 * keep their inode number.
 */
export class Landmark {
  readonly #path: string;
  readonly #descriptor: number;

  /** @throws errors of open */
  constructor(path: string) {
    this.#path = path;
    this.#descriptor = openSync(path, "r");
  }

  /** @returns why it is no longer the same file, or undefined */
  missing(): string | undefined {
    return whatIsMissing(this.#path, fstatSync(this.#descriptor, { bigint: true }));
  }

  close(): void {
    closeSync(this.#descriptor);
  }
}

/**
 * @param was the file that the path named before, or an open file's state now.
 * @returns why the path no longer names it, or undefined
 */
export function whatIsMissing(path: string, was: BigIntStats): string | undefined {
  if (was.nlink === 0n) return `${path} was removed`;
  try {
    const { dev, ino } = statSync(path, { bigint: true });
    return dev === was.dev && ino === was.ino ? undefined : `${path} is no longer the same file`;
  } catch (error) {
    const { code = "EUNKNOWN" } = error as NodeJS.ErrnoException;
    if (UNTOLD.includes(code)) return undefined;
    return code === "ENOENT" ? `${path} is gone` : `${path} cannot be found: ${code}`;
  }
}
