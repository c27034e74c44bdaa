import { readFileSync } from "node:fs";
import { join } from "node:path";
import { assert } from "../lib/assert.js";
import { replaceFile } from "../storage/disk.js";
import { DataDirAccessError } from "../storage/errors.js";
import type { WalMetadata } from "./segment.js";

/**
 * `<data-dir>/identity` names the member whose log belongs to a data directory. Written once the
 * log exists, and stored apart from it, so that a start without a log detects that there was one:
 * the member must not start anew, as it has lost its votes and acknowledged entries.
 *
 *   {"memberId":"8e9e05c52164694d","clusterId":"cdf8181e32278f57"}
 */
export const IDENTITY_FILE = "identity";

/**
 * @returns undefined if no member has started, or the file is unreadable.
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

/** Durable on return; a no-op if it is already written. @throws DataDirAccessError */
export function writeIdentity(dir: string, { memberId, clusterId }: WalMetadata): void {
  assert(memberId > 0n && clusterId > 0n, "a member and its cluster have ids");
  const before = readIdentity(dir);
  if (before?.memberId === memberId && before.clusterId === clusterId) return;
  const ids = { memberId: memberId.toString(16), clusterId: clusterId.toString(16) };
  try {
    replaceFile(join(dir, IDENTITY_FILE), `${JSON.stringify(ids)}\n`);
  } catch (error) {
    throw new DataDirAccessError(dir, error);
  }
}
