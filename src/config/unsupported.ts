import { cannotVerify } from "./config-error.js";
import type { FlagReader } from "./flag-reader.js";

/** One line that names the flags without effect; undefined if there are none. */
export function unavailableWarning(read: FlagReader): string | undefined {
  const names = read.withoutEffect().map((name) => `--${name}`);
  const logger = read.string("logger");
  if (logger !== "zap" && logger !== "capnslog") {
    throw cannotVerify(`unknown logger option "${logger}"`);
  }
  if (logger === "capnslog") names.push("--logger=capnslog");
  const level = read.string("metrics");
  // As in etcd, another one is as good as the first of these.
  if (!["basic", "extensive"].includes(level)) names.push(`--metrics=${level}`);
  if (names.length === 0) return undefined;
  return `flags accepted but not available: ${names.join(", ")}`;
}
