import { type BigIntStats, closeSync, fstatSync, openSync, statSync } from "node:fs";

/**
 * Tells whether files and directories that are in use are still where they were. A file that is
 * removed or moved away, or whose file system is no longer mounted, can be written through an open
 * descriptor for as long as one likes: nothing fails, and at the next start nothing is there.
 */

/** Errors of a look at a path that say nothing about whether the file is still there. */
const UNTOLD = ["EACCES", "EPERM", "ENOMEM", "EINTR", "EAGAIN"];

/**
 * A path that is to stay what it is. Keeps it open: on some file systems only what is open keeps
 * its number.
 */
export class Landmark {
  readonly #path: string;
  readonly #descriptor: number;

  /** @throws what open throws */
  constructor(path: string) {
    this.#path = path;
    this.#descriptor = openSync(path, "r");
  }

  /** @returns why it is no longer what it was, or undefined */
  missing(): string | undefined {
    return whatIsMissing(this.#path, fstatSync(this.#descriptor, { bigint: true }));
  }

  close(): void {
    closeSync(this.#descriptor);
  }
}

/**
 * @param was what the path stood for, or an open file now.
 * @returns why it no longer does, or undefined
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
