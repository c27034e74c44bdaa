import type { TlsSettings } from "#ringd/config/tls.js";
import type { Logger } from "#ringd/log/logger.js";

/** Settings of a side without any flag, but for `some`. */
export function tlsSettings(some: Partial<TlsSettings>): TlsSettings {
  return {
    ...{ side: "client", certFile: "", keyFile: "", auto: undefined },
    ...{ requiresClientCert: false, takesCommonName: false, trustedCaFile: "", crlFile: "" },
    ...{ allowedCn: "", allowedHostname: "", skipClientSanVerify: false, cipherSuites: [] },
    ...{ minVersion: "TLSv1.2", maxVersion: "TLSv1.3" },
    ...some,
  };
}

/** A logger that keeps its lines. */
export function keptLines(): { log: Logger; lines: string[] } {
  const lines: string[] = [];
  const keep = (...line: unknown[]) => lines.push(String(line.at(-1)));
  return { log: { info: keep, warn: keep, error: keep } as unknown as Logger, lines };
}

export const silent: Logger = keptLines().log;
