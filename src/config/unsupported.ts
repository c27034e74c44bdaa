import { cannotVerify } from "./config-error.js";
import type { FlagReader } from "./flag-reader.js";

/**
 * Capabilities of etcd v2 that this version does not carry out. Each is refused at start: serving
 * without what the operator asked for would be worse. Whoever adds a capability deletes its line.
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
  read.oneOf("discovery-fallback", ["exit", "proxy"]);
  read.oneOf("proxy", ["off", "readonly", "on"]);
  if (read.string("proxy") !== "off") refuse(`proxy mode (--proxy=${read.string("proxy")})`);
  for (const flag of ["discovery", "discovery-srv"]) {
    if (read.string(flag) !== "") refuse(`discovery (--${flag})`);
  }
}

/** One line that names what was asked for in vain. Undefined where there is nothing. */
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
