import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A file system of a few MiB in memory, to be filled. */
export class SmallDisk {
  readonly dir: string;
  readonly #ballast: string;

  private constructor(dir: string) {
    this.dir = dir;
    this.#ballast = join(dir, "ballast");
  }

  /** @returns undefined if this process may not mount file systems */
  static mount(mebibytes: number): SmallDisk | undefined {
    const dir = mkdtempSync(join(tmpdir(), "ringd-disk-"));
    const args = ["-t", "tmpfs", "-o", `size=${mebibytes}m`, "ringd-test", dir];
    if (spawnSync("mount", args).status === 0) return new SmallDisk(dir);
    rmdirSync(dir);
    return undefined;
  }

  /** Uses up all free space. */
  fill(): void {
    for (let bytes = 2 ** 20; bytes >= 1; bytes = Math.floor(bytes / 2)) {
      for (;;) {
        try {
          writeFileSync(this.#ballast, Buffer.alloc(bytes), { flag: "a" });
        } catch {
          break; // No room for this size.
        }
      }
    }
  }

  /** Frees the space again. */
  free(): void {
    rmSync(this.#ballast, { force: true });
  }

  unmount(): void {
    spawnSync("umount", [this.dir]);
    rmdirSync(this.dir);
  }
}

/** Limits the size of the process's files: a full disk for users without the right to mount one. */
export function limitFileBytes(pid: number, bytes: number | "unlimited"): void {
  const { status, stderr } = spawnSync("prlimit", ["--pid", `${pid}`, `--fsize=${bytes}:`]);
  if (status !== 0) throw new Error(`Cannot limit files of ${pid}: ${stderr}`);
}

/** Path of a directory's last file by name. */
export function lastFile(dir: string, suffix: string): string {
  const name = readdirSync(dir)
    .filter((file) => file.endsWith(suffix))
    .sort()
    .at(-1);
  if (name === undefined) throw new Error(`${dir} has no ${suffix}`);
  return join(dir, name);
}

export function bytesOf(path: string): number {
  return statSync(path).size;
}
