import { join } from "node:path";
import { cannotVerify } from "./config-error.js";
import type { FlagReader } from "./flag-reader.js";

const INTERVAL_MS_MIN = 1000;

/** Snapshot files that a member saves by itself. */
export interface SavedSnapshotsConfig {
  /** 0: none. */
  readonly intervalMs: number;
  /** 0 keeps all. */
  readonly keep: number;
  readonly dir: string;
  /** The directory is ringd's own; one that was named may be a mount point, and is not made. */
  readonly makesDir: boolean;
}

/** @throws ConfigError */
export function readSavedSnapshots(read: FlagReader, dataDir: string): SavedSnapshotsConfig {
  const ms = read.durationMs("snapshot-interval");
  if (ms !== 0 && ms < INTERVAL_MS_MIN) {
    const text = read.string("snapshot-interval");
    throw cannotVerify(`--snapshot-interval is ${text}, and must be 0 or at least 1s`);
  }
  const named = read.string("snapshot-dir");
  return {
    intervalMs: Math.floor(ms),
    keep: read.uint("snapshot-keep"),
    dir: named === "" ? join(dataDir, "snapshots") : named,
    makesDir: named === "",
  };
}
