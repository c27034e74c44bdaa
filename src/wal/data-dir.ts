import { accessSync, constants, existsSync, mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { DataDirError } from "./errors.js";

export interface DataDirPaths {
  readonly root: string;
  readonly wal: string;
  readonly snap: string;
}

/**
 * Makes or checks `<data-dir>/member/{wal,snap}`, readable by the owner only.
 *
 * @param walDir a directory for the log elsewhere, or ""
 * @throws DataDirError
 */
export function openDataDir(root: string, walDir: string): DataDirPaths {
  const member = join(root, "member");
  const paths = {
    root,
    wal: walDir === "" ? join(member, "wal") : walDir,
    snap: join(member, "snap"),
  };
  try {
    for (const directory of [root, member, paths.wal, paths.snap]) {
      mkdirSync(directory, { recursive: true, mode: 0o700 });
      accessSync(directory, constants.R_OK | constants.W_OK | constants.X_OK);
    }
  } catch (error) {
    throw new DataDirError(`Cannot use the data directory ${root}: ${(error as Error).message}`);
  }
  if (existsSync(join(root, "proxy"))) {
    throw new DataDirError(`Cannot use ${root}: it holds both a member and a proxy. Remove one.`);
  }
  if (readdirSync(paths.snap).includes("db")) {
    throw new DataDirError(`Cannot use ${root}: it was written by etcd, whose format differs.`);
  }
  return paths;
}
