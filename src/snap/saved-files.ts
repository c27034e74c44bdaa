import { mkdirSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { SnapshotJobHead } from "../messages/pool.js";
import { syncDirectory } from "../storage/disk.js";
import { SNAPSHOT_FORMAT, SNAPSHOT_TEMPORARY_SUFFIX } from "./format.js";
import type { JobFiles } from "./job.js";
import { SnapshotWriter } from "./writer.js";

/**
 * Snapshots saved at intervals: `<etcd index>-<time>.snap`, such as 1234-20261126T033412Z.snap. The
 * directory may hold other files, which are left alone.
 */
const NAME = /^(\d+)-(\d{8}T\d{6}Z)\.snap$/;

/** Where they are kept. */
export interface SavedFilesConfig {
  readonly dir: string;
  /** Make the directory: it is not the operator's, who may not have mounted it yet. */
  readonly makesDir: boolean;
  /** Number of files; 0 keeps all. */
  readonly keep: number;
}

export function savedName(etcdIndex: number, unixMs: number): string {
  return `${etcdIndex}-${timeOf(unixMs)}.snap`;
}

function timeOf(unixMs: number): string {
  return new Date(unixMs).toISOString().replace(/[-:]|\.\d+/g, "");
}

/** How a job of the pool writes one of them, and removes old ones. */
export function savedFiles(config: SavedFilesConfig, unixMs: number): JobFiles {
  const { dir, makesDir, keep } = config;
  return {
    open: (head) => {
      if (makesDir) mkdirSync(dir, { recursive: true, mode: 0o700 });
      const file = { name: savedName(etcdIndexOf(head), unixMs), hasHash: true };
      return new SnapshotWriter(dir, head, Math.min(head.formatLevel, SNAPSHOT_FORMAT), file);
    },
    purge: (onRefusal) => {
      purge(dir, keep, timeOf(unixMs), onRefusal);
      return 0;
    },
  };
}

/** Of the metadata that the core wrote. */
function etcdIndexOf({ metadata }: SnapshotJobHead): number {
  return (JSON.parse(Buffer.from(metadata).toString()) as { etcdIndex: number }).etcdIndex;
}

/**
 * By time, as indexes go back when an older snapshot is restored. Files of a time after `newest`,
 * which was saved just now, are older than they say: the clock was ahead. They go first.
 */
function purge(
  dir: string,
  keep: number,
  newest: string,
  onRefusal: (error: unknown) => void,
): void {
  const found = readdirSync(dir)
    .flatMap((file) => {
      const [, index = "", time = ""] = NAME.exec(file) ?? [];
      if (time === "") return [];
      return [{ file, order: `${time > newest ? 0 : 1}${time}`, index: Number(index) }];
    })
    .sort((a, b) => (a.order === b.order ? a.index - b.index : a.order < b.order ? -1 : 1));
  const surplus = keep === 0 ? 0 : Math.max(0, found.length - keep);
  for (const { file } of found.slice(0, surplus)) {
    try {
      rmSync(join(dir, file), { force: true });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === undefined) throw error;
      onRefusal(error);
    }
  }
  if (surplus > 0) syncDirectory(dir);
}

/** At a start: what an earlier process did not finish. @throws Error of the file system */
export function removeUnfinished(dir: string): void {
  for (const file of readdirSync(dir)) {
    const isOurs =
      file.endsWith(SNAPSHOT_TEMPORARY_SUFFIX) && NAME.test(file.replace(/\.tmp$/, ""));
    if (isOurs) rmSync(join(dir, file), { force: true });
  }
}
