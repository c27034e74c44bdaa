import { join } from "node:path";
import { parseCipherSuites } from "./cipher-suites.js";
import { cannotVerify } from "./config-error.js";
import type { FlagReader } from "./flag-reader.js";
import { type ListenUrl, splitListenUrl } from "./urls.js";

export type TlsVersion = "TLSv1.2" | "TLSv1.3";

/** TLS of one side, as the flags say: plain data. The thread that needs the files reads them. */
export interface TlsSettings {
  readonly side: "client" | "peer";
  /** "" with `auto`, and for peers without a certificate of their own. */
  readonly certFile: string;
  readonly keyFile: string;
  /** Set for a generated pair. */
  readonly auto: AutoTls | undefined;
  /** A client must have a certificate of a trusted CA. */
  readonly requiresClientCert: boolean;
  /** The common name of a client's certificate is its user: only with --client-cert-auth. */
  readonly takesCommonName: boolean;
  /** "": the CAs that Node trusts. */
  readonly trustedCaFile: string;
  readonly crlFile: string;
  /** "" allows all. At most one of these two is set. */
  readonly allowedCn: string;
  readonly allowedHostname: string;
  /** Peers only: do not compare the names in a certificate with the address it comes from. */
  readonly skipClientSanVerify: boolean;
  /** OpenSSL's names, TLS 1.2; empty: the default. */
  readonly cipherSuites: readonly string[];
  readonly minVersion: TlsVersion;
  readonly maxVersion: TlsVersion;
}

/** A self-signed pair, made once and kept. */
export interface AutoTls {
  readonly dir: string;
  /** Names and addresses that it is for. */
  readonly hosts: readonly string[];
}

export interface TlsConfig {
  /** Set if clients are served over TLS. */
  readonly clientTls: TlsSettings | undefined;
  /** Set if a flag of TLS between members is, or members are served over TLS. */
  readonly peerTls: TlsSettings | undefined;
  /**
   * Of a proxy's connections to members for clients' requests, as in etcd: that of the client side
   * if it has a certificate, or else that between members.
   */
  readonly upstreamTls: TlsSettings | undefined;
}

export interface ListenLists {
  readonly listenPeerUrls: readonly ListenUrl[];
  readonly listenClientUrls: readonly ListenUrl[];
  readonly listenMetricsUrls: readonly ListenUrl[];
  readonly advertiseClientUrls: readonly string[];
  readonly initialAdvertisePeerUrls: readonly string[];
}

/** Of the client side, without effect unless a URL is https; etcd says nothing of them. */
const SECURE_ONLY = [
  "trusted-ca-file",
  "client-crl-file",
  "client-cert-allowed-hostname",
  "auto-tls",
];

type Shared = Pick<TlsSettings, "cipherSuites" | "minVersion" | "maxVersion">;

const VERSIONS: Readonly<Record<string, TlsVersion>> = {
  "TLS1.2": "TLSv1.2",
  "TLS1.3": "TLSv1.3",
};

export function isSecure(url: ListenUrl): boolean {
  return url.scheme === "https" || url.scheme === "unixs";
}

/**
 * Reads the TLS flags by etcd's rules (embed/etcd.go, pkg/transport/listener.go).
 *
 * @throws ConfigError
 */
export function readTlsFlags(
  read: FlagReader,
  lists: ListenLists,
  dataDir: string,
  warnings: string[],
): TlsConfig {
  const shared = readShared(read);
  const { listenClientUrls, listenMetricsUrls, listenPeerUrls } = lists;
  const clientHosts = hostsOf(listenClientUrls, lists.advertiseClientUrls);
  const peerHosts = hostsOf(listenPeerUrls, lists.initialAdvertisePeerUrls);
  const client = readSide(read, "client", shared, dataDir, clientHosts, warnings);
  const peer = readSide(read, "peer", shared, dataDir, peerHosts, warnings);
  const secureClientUrl = listenClientUrls.find(isSecure);
  const secureMetricsUrl = listenMetricsUrls.find(isSecure);
  const securePeerUrl = listenPeerUrls.find(isSecure);
  if (!hasPair(client)) {
    if (secureClientUrl !== undefined) throw missingPair("", "client", secureClientUrl);
    if (secureMetricsUrl !== undefined) throw missingPair("", "metrics", secureMetricsUrl);
  }
  if (!hasPair(peer) && securePeerUrl !== undefined) {
    throw missingPair("peer-", "peer", securePeerUrl);
  }
  const hasCertificate = client.certFile !== "";
  const isUsedUpstream = hasCertificate && read.string("proxy") !== "off";
  if (!isUsedUpstream) warnOfPlainUrls(client, listenClientUrls, warnings);
  warnOfPlainUrls(peer, listenPeerUrls, warnings);
  const isClientSecure = (secureClientUrl ?? secureMetricsUrl) !== undefined;
  if (!isClientSecure && !isUsedUpstream) warnOfNoEffect(read, warnings);
  const isPeerSet = hasPair(peer) || peer.trustedCaFile !== "" || peer.requiresClientCert;
  const peerTls = isPeerSet ? peer : undefined;
  return {
    clientTls: isClientSecure ? client : undefined,
    peerTls,
    // A member whose discovery token is full becomes a proxy, too.
    upstreamTls: hasCertificate ? client : peerTls,
  };
}

function warnOfNoEffect(read: FlagReader, warnings: string[]): void {
  const given = SECURE_ONLY.filter((flag) => !["", "false"].includes(read.string(flag)));
  if (given.length === 0) return;
  const names = given.map((flag) => `--${flag}`).join(", ");
  warnings.push(`flags without effect, as no client URL is https: ${names}`);
}

function hostsOf(listened: readonly ListenUrl[], advertised: readonly string[]): string[] {
  const hosts = [...listened, ...advertised.map(splitListenUrl)].map((url) => url?.host ?? "");
  return [...new Set(hosts)].filter((host) => host !== "");
}

function hasPair({ certFile, auto }: TlsSettings): boolean {
  return certFile !== "" || auto !== undefined;
}

function missingPair(prefix: string, kind: string, url: ListenUrl) {
  return cannotVerify(
    `TLS key/cert (--${prefix}cert-file, --${prefix}key-file) must be provided for ${kind} url ${url.text} with HTTPS scheme`,
  );
}

function readSide(
  read: FlagReader,
  side: TlsSettings["side"],
  shared: Shared,
  dataDir: string,
  hosts: readonly string[],
  warnings: string[],
): TlsSettings {
  const prefix = side === "peer" ? "peer-" : "";
  const text = (flag: string) => read.string(prefix + flag);
  const certFile = text("cert-file");
  const keyFile = text("key-file");
  if ((certFile === "") !== (keyFile === "")) {
    throw cannotVerify(
      `--${prefix}cert-file and --${prefix}key-file must both be present (KeyFile and CertFile must both be present[key: ${keyFile}, cert: ${certFile}])`,
    );
  }
  const caFile = text("ca-file");
  if (caFile !== "" && !["", caFile].includes(text("trusted-ca-file"))) {
    throw cannotVerify(`--${prefix}ca-file and --${prefix}trusted-ca-file exclude each other`);
  }
  const trustedCaFile = text("trusted-ca-file") || caFile;
  const takesCommonName = read.bool(`${prefix}client-cert-auth`) || caFile !== "";
  const isAuto = read.bool(`${prefix}auto-tls`) && certFile === "";
  if (read.bool(`${prefix}auto-tls`) && !isAuto) {
    warnings.push(`ignoring ${side} auto TLS since certs given`);
  }
  const settings: TlsSettings = {
    ...{ side, certFile, keyFile, trustedCaFile, takesCommonName, ...shared },
    auto: isAuto ? { dir: join(dataDir, "fixtures", side), hosts } : undefined,
    requiresClientCert: takesCommonName || trustedCaFile !== "",
    crlFile: read.string(`${side}-crl-file`),
    allowedCn: side === "peer" ? read.string("peer-cert-allowed-cn") : "",
    allowedHostname: read.string(`${side}-cert-allowed-hostname`),
    skipClientSanVerify:
      side === "peer" && read.bool("experimental-peer-skip-client-san-verification"),
  };
  checkAllowed(settings);
  return settings;
}

function checkAllowed({ allowedCn, allowedHostname }: TlsSettings): void {
  if (allowedCn === "" || allowedHostname === "") return;
  throw cannotVerify(
    `AllowedCN and AllowedHostname are mutually exclusive (cn="${allowedCn}", hostname="${allowedHostname}")`,
  );
}

/** etcd's texts; they name the peer's files for either side. */
function warnOfPlainUrls(
  settings: TlsSettings,
  urls: readonly ListenUrl[],
  warnings: string[],
): void {
  const { side, takesCommonName } = settings;
  const prefix = side === "peer" ? "peer-" : "";
  for (const { scheme, text } of urls.filter((url) => !isSecure(url))) {
    // The default URLs of ringd's own, which no flag names.
    const name = `The scheme of ${side} url ${text} is ${scheme.toUpperCase()}`;
    if (hasPair(settings)) {
      warnings.push(`${name} while key/cert files are presented. Ignored key/cert files.`);
    }
    if (takesCommonName) {
      warnings.push(
        `${name} while client cert auth (--${prefix}client-cert-auth) is enabled. Ignored client cert auth for this url.`,
      );
    }
  }
}

function readShared(read: FlagReader): Shared {
  const cipherSuites = parseCipherSuites(read.string("cipher-suites"));
  const minVersion = version(read, "tls-min-version") ?? "TLSv1.2";
  const maxVersion = version(read, "tls-max-version") ?? "TLSv1.3";
  if (minVersion > maxVersion) {
    throw cannotVerify(
      `min version (${read.string("tls-min-version")}) is greater than max version (${read.string("tls-max-version")})`,
    );
  }
  if (minVersion === "TLSv1.3" && read.string("cipher-suites") !== "") {
    throw cannotVerify("cipher suites cannot be configured when only TLS1.3 is enabled");
  }
  return { cipherSuites, minVersion, maxVersion };
}

function version(read: FlagReader, flag: string): TlsVersion | undefined {
  const text = read.string(flag);
  if (text === "") return undefined;
  if (Object.hasOwn(VERSIONS, text)) return VERSIONS[text];
  throw cannotVerify(
    `--${flag}: unexpected TLS version "${text}" (must be one of: TLS1.2, TLS1.3)`,
  );
}
