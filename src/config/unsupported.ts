import { cannotVerify } from "./config-error.js";
import type { FlagReader } from "./flag-reader.js";

/**
 * etcd v2 features that this version lacks. Each is rejected at start, as serving without it (TLS,
 * auth) would be worse. Implementing a feature removes its line.
 */
export function refuseUnsupported(read: FlagReader): void {
  const refuse = (what: string) => {
    throw cannotVerify(`${what} is not available in this version of ringd`);
  };
  for (const flag of ["listen-client-urls", "listen-peer-urls", "listen-metrics-urls"]) {
    if (/https:|unixs:/i.test(read.string(flag))) refuse(`TLS (--${flag}=${read.string(flag)})`);
  }
  for (const flag of ["auto-tls", "peer-auto-tls", "client-cert-auth", "peer-client-cert-auth"]) {
    if (read.bool(flag)) refuse(`TLS (--${flag})`);
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
