import { cannotVerify } from "./config-error.js";
import type { FlagReader } from "./flag-reader.js";

/**
 * etcd v2 features that this version lacks. Each is rejected at start, as serving without it would
 * be worse. Implementing a feature removes its line.
 */
export function refuseUnsupported(read: FlagReader): void {
  const refuse = (what: string) => {
    throw cannotVerify(`${what} is not available in this version of ringd`);
  };
  read.oneOf("discovery-fallback", ["exit", "proxy"]);
  read.oneOf("proxy", ["off", "readonly", "on"]);
  if (read.string("proxy") !== "off") refuse(`proxy mode (--proxy=${read.string("proxy")})`);
  for (const flag of ["discovery", "discovery-srv"]) {
    if (read.string(flag) !== "") refuse(`discovery (--${flag})`);
  }
}

/** One line that names the flags without effect; undefined if there are none. */
export function unavailableWarning(read: FlagReader): string | undefined {
  const names = read.withoutEffect().map((name) => `--${name}`);
  const logger = read.string("logger");
  if (logger !== "zap" && logger !== "capnslog") {
    throw cannotVerify(`unknown logger option "${logger}"`);
  }
  if (logger === "capnslog") names.push("--logger=capnslog");
  if (read.string("metrics") === "extensive") names.push("--metrics=extensive");
  if (names.length === 0) return undefined;
  return `flags accepted but not available: ${names.join(", ")}`;
}
