import type { X509Certificate } from "node:crypto";
import { lookup, reverse } from "node:dns/promises";
import { isIP } from "node:net";
import type { TLSSocket } from "node:tls";
import type { TlsSettings } from "../config/tls.js";
import { certificateOf, whyNotAllowed } from "./contexts.js";
import type { TlsMaterial } from "./files.js";
import { goChainError, goVerifyError } from "./go-errors.js";

/** What one member checks of another beyond the handshake, with etcd's texts. */

/** Of one side of a connection, at the time of its handshake. */
export interface PeerTrust {
  readonly settings: TlsSettings;
  readonly material: TlsMaterial;
}

/** Name look-ups, which tests replace. */
export interface Names {
  /** Addresses of a name. @throws Error */
  addresses(name: string): Promise<readonly string[]>;
  /** Names of an address. @throws Error */
  names(address: string): Promise<readonly string[]>;
}

const DNS: Names = {
  addresses: async (name) => (await lookup(name, { all: true })).map(({ address }) => address),
  names: (address) => reverse(address),
};

/**
 * Why a member that we dialled is not who it should be; undefined if it is.
 *
 * @param host of its URL
 */
export function whyServerRejected(
  socket: TLSSocket,
  host: string,
  trust: PeerTrust | undefined,
): string | undefined {
  // Generated certificates are known to nobody: the connection is encrypted, and no more.
  if (trust?.settings.auto !== undefined) return undefined;
  const certificate = certificateOf(socket);
  if (certificate === undefined) return "tls: server didn't provide a certificate";
  if (!socket.authorized) return goChainError(verdictOn(socket));
  const name = whyNotNamed(certificate, host);
  if (name !== undefined || trust === undefined) return name;
  return whyNotAllowed(socket, trust.settings, trust.material);
}

/** Why a member that dialled us is not let in; undefined if it is. */
export async function whyClientRejected(
  socket: TLSSocket,
  address: string,
  { settings, material }: PeerTrust,
  dns = DNS,
): Promise<string | undefined> {
  if (!settings.requiresClientCert) return undefined;
  const certificate = certificateOf(socket);
  if (certificate === undefined) return "tls: client didn't provide a certificate";
  if (!socket.authorized) return goVerifyError(verdictOn(socket));
  const early = whyNotAllowed(socket, settings, material);
  if (early !== undefined || settings.skipClientSanVerify || address === "") return early;
  return await whyNotFrom(certificate, address, dns);
}

function verdictOn(socket: TLSSocket): string {
  // Node's types say Error; it is OpenSSL's name of it.
  const { authorizationError } = socket as { authorizationError: unknown };
  return String(authorizationError ?? "CERT_UNTRUSTED");
}

/** Go's x509.VerifyHostname: the common name does not count. */
function whyNotNamed(certificate: X509Certificate, host: string): string | undefined {
  const { dns, ips } = alternativeNames(certificate);
  if (isIP(host) !== 0) {
    if (certificate.checkIP(host) !== undefined) return undefined;
    return ips.length === 0
      ? `x509: cannot validate certificate for ${host} because it doesn't contain any IP SANs`
      : `x509: certificate is valid for ${ips.join(", ")}, not ${host}`;
  }
  if (certificate.checkHost(host, { subject: "never" }) !== undefined) return undefined;
  return dns.length === 0
    ? `x509: certificate is not valid for any names, but wanted to match ${host}`
    : `x509: certificate is valid for ${dns.join(", ")}, not ${host}`;
}

/**
 * A member connects from an address that its certificate is for: pkg/transport/listener_tls.go,
 * checkCertSAN. A certificate without such names is for all addresses.
 */
async function whyNotFrom(
  certificate: X509Certificate,
  address: string,
  look: Names,
): Promise<string | undefined> {
  const { dns, ips } = alternativeNames(certificate);
  if (ips.length > 0) {
    const why = whyNotNamed(certificate, address);
    if (why === undefined || dns.length === 0) return why;
  }
  if (dns.length === 0) return undefined;
  const errors: string[] = [];
  const quietly = async (asked: Promise<readonly string[]>) => {
    try {
      return await asked;
    } catch (error) {
      errors.push((error as Error).message);
      return [];
    }
  };
  const found = await Promise.all(dns.map((name) => quietly(look.addresses(name))));
  if (found.flat().includes(address)) return undefined;
  const isNamed = (name: string) =>
    dns.some((one) => (one.startsWith("*.") ? name.endsWith(one.slice(1)) : one === name));
  const names = await quietly(look.names(address));
  if (names.some((name) => isNamed(name.replace(/\.$/, "")))) return undefined;
  const why = errors[0] === undefined ? "" : ` (${errors[0]})`;
  return `tls: ${JSON.stringify(address)} does not match any of DNSNames ${quoted(dns)}${why}`;
}

/** A list as Go prints it with %q. */
export function quoted(texts: readonly string[]): string {
  return `[${texts.map((text) => JSON.stringify(text)).join(" ")}]`;
}

/** Of the extension: DNS names and addresses. */
export function alternativeNames(certificate: X509Certificate): {
  readonly dns: readonly string[];
  readonly ips: readonly string[];
} {
  const dns: string[] = [];
  const ips: string[] = [];
  // Names with commas or quotes stand in quotes, as JSON.
  for (const [, kind, value = ""] of (certificate.subjectAltName ?? "").matchAll(ENTRY)) {
    const text = value.startsWith('"') ? unquoted(value) : value;
    if (kind === "DNS") dns.push(text);
    else if (kind === "IP Address") ips.push(text);
  }
  return { dns, ips };
}

/** A certificate may come from anyone. */
function unquoted(text: string): string {
  try {
    return JSON.parse(text) as string;
  } catch {
    return text;
  }
}

const ENTRY = /(?:^|, )([A-Za-z0-9 ]+):("(?:[^"\\]|\\.)*"|[^,]*)/g;
