import { readFileSync } from "node:fs";
import { systemReason } from "../../lib/errors.js";
import { replaceFile } from "../../storage/disk.js";
import { failure } from "../output/exit.js";

/**
 * Where a migration is, so that it can be resumed:
 *
 *   {"format":"ringctl migrate 1","source":"cdf8181e32278f57","target":"1f2e",
 *    "indexes":{"/":123}}
 */
export interface MigrationState {
  /** Cluster ids. */
  readonly source: string;
  readonly target: string;
  /** By scope: changes up to this index are in the target. Scopes not copied yet are missing. */
  readonly indexes: Readonly<Record<string, number>>;
}

const FORMAT = "ringctl migrate 1";

/** @returns undefined if there is no such file. @throws Failure */
export function readState(file: string): MigrationState | undefined {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw failure(`cannot read ${file}: ${systemReason(error)}`);
  }
  try {
    const json = (JSON.parse(text) ?? {}) as Partial<MigrationState> & { format?: string };
    const { format, source, target, indexes } = json;
    const isWhole =
      typeof source === "string" &&
      typeof target === "string" &&
      typeof indexes === "object" &&
      indexes !== null &&
      Object.values(indexes).every(Number.isSafeInteger);
    if (format === FORMAT && isWhole) return { source, target, indexes };
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  throw failure(`${file} is not the state of a migration`);
}

/** Durable on return. @throws Failure */
export function writeState(file: string, state: MigrationState): void {
  try {
    replaceFile(file, `${JSON.stringify({ format: FORMAT, ...state })}\n`);
  } catch (error) {
    throw failure(`cannot write ${file}: ${systemReason(error)}`);
  }
}
