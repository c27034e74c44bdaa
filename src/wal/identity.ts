import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from "node:fs";
import { join } from "node:path";
import { assert } from "../lib/assert.js";
import { syncDirectory } from "../storage/disk.js";
import { DataDirAccessError } from "../storage/errors.js";
import type { WalMetadata } from "./segment.js";

/**
 * `<data-dir>/identity` says which member's log belongs to a data directory. It is written when the
 * log has been made, and lies apart from it: so a start that finds no log sees whether there ever
 * was one, which a member must not begin anew without: it has forgotten its votes, and what it
 * acknowledged.
 *
 *   {"memberId":"8e9e05c52164694d","clusterId":"cdf8181e32278f57"}
 */
export const IDENTITY_FILE = "identity";

/**
 * @returns undefined where no member has begun, or the file says nothing.
 * @throws DataDirAccessError
 */
export function readIdentity(dir: string): WalMetadata | undefined {
  let text: string;
  try {
    text = readFileSync(join(dir, IDENTITY_FILE), "utf8");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    throw new DataDirAccessError(dir, error);
  }
  const found = /"memberId":"([0-9a-f]{1,16})","clusterId":"([0-9a-f]{1,16})"/.exec(text);
  if (found === null) return undefined;
  return { memberId: BigInt(`0x${found[1]}`), clusterId: BigInt(`0x${found[2]}`) };
}

/** Durable when it returns; does nothing where it says so already. @throws DataDirAccessError */
export function writeIdentity(dir: string, { memberId, clusterId }: WalMetadata): void {
  assert(memberId > 0n && clusterId > 0n, "a member and its cluster have ids");
  const before = readIdentity(dir);
  if (before?.memberId === memberId && before.clusterId === clusterId) return;
  const path = join(dir, IDENTITY_FILE);
  const ids = { memberId: memberId.toString(16), clusterId: clusterId.toString(16) };
  try {
    const descriptor = openSync(`${path}.tmp`, "w", 0o600);
    try {
      writeSync(descriptor, `${JSON.stringify(ids)}\n`);
      fsyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
    renameSync(`${path}.tmp`, path);
    syncDirectory(dir);
  } catch (error) {
    throw new DataDirAccessError(dir, error);
  }
}
