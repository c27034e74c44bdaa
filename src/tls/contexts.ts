import { constants, X509Certificate } from "node:crypto";
import { isIP } from "node:net";
import type { SecureContextOptions, TLSSocket, TlsOptions } from "node:tls";
import type { TlsSettings } from "../config/tls.js";
import type { TlsMaterial } from "./files.js";
import { revokedIn } from "./revoked.js";

/** Node disables TLS 1.3 for a list of ciphers without any of these; Go always offers all three. */
const TLS13_SUITES = [
  "TLS_AES_128_GCM_SHA256",
  "TLS_AES_256_GCM_SHA384",
  "TLS_CHACHA20_POLY1305_SHA256",
];

interface PartialChain {
  /** As in Go, an intermediate CA can be the trusted one. Node 20.18; older ones ignore it. */
  readonly allowPartialTrustChain: boolean;
}

/** Key, certificate, CAs, versions and ciphers, of a server or of a client. */
export function contextOptions(
  settings: TlsSettings,
  { pair, ca }: TlsMaterial,
): SecureContextOptions {
  const { cipherSuites, minVersion, maxVersion } = settings;
  const partial: PartialChain = { allowPartialTrustChain: true };
  return {
    ...partial,
    ...(pair === undefined ? {} : { cert: pair.cert, key: pair.key }),
    ...(ca === undefined ? {} : { ca }),
    ...(cipherSuites.length === 0
      ? {}
      : { ciphers: [...TLS13_SUITES, ...cipherSuites].join(":"), honorCipherOrder: true }),
    minVersion,
    maxVersion,
  };
}

/**
 * Of a server. A session that is resumed would be verified by the CAs of before, so with client
 * certificates none is.
 */
export function serverOptions(settings: TlsSettings, material: TlsMaterial): TlsOptions {
  const { requiresClientCert } = settings;
  const { SSL_OP_NO_TICKET, SSL_OP_NO_RENEGOTIATION } = constants;
  return {
    ...contextOptions(settings, material),
    secureOptions: SSL_OP_NO_RENEGOTIATION | (requiresClientCert ? SSL_OP_NO_TICKET : 0),
    requestCert: requiresClientCert,
    rejectUnauthorized: requiresClientCert,
  };
}

/**
 * Why a client is not accepted: what etcd checks beyond the chain of its certificate.
 *
 * @returns etcd's text; undefined if it is accepted, or none is required
 */
export function rejectionOf(
  socket: TLSSocket,
  settings: TlsSettings,
  material: TlsMaterial,
): string | undefined {
  if (!settings.requiresClientCert) return undefined;
  if (!socket.authorized) return "tls: client didn't provide a certificate";
  return whyNotAllowed(socket, settings, material);
}

/** Common name or host name, and the revocation list, of a certificate whose chain is good. */
export function whyNotAllowed(
  socket: TLSSocket,
  { allowedCn, allowedHostname }: TlsSettings,
  { revoked }: TlsMaterial,
): string | undefined {
  if (allowedCn !== "" && commonNameOf(socket) !== allowedCn) return AUTHENTICATION_FAILED;
  if (allowedHostname !== "" && !hasName(socket, allowedHostname)) return AUTHENTICATION_FAILED;
  if (revoked === undefined) return undefined;
  const serial = revokedIn(revoked, socket.getPeerCertificate(true));
  return serial === undefined ? undefined : `transport: certificate serial ${serial} revoked`;
}

const AUTHENTICATION_FAILED = "client certificate authentication failed";

/** The last common name of the other side's certificate, as Go takes it; "" without one. */
export function commonNameOf(socket: TLSSocket): string {
  const name: string | string[] | undefined = socket.getPeerCertificate()?.subject?.CN;
  return (Array.isArray(name) ? name.at(-1) : name) ?? "";
}

/**
 * The other side's certificate. Node's `getPeerX509Certificate` takes the certificates that it
 * returns out of the connection: a second call, or any other one, misses them.
 */
export function certificateOf(socket: TLSSocket): X509Certificate | undefined {
  const raw: Buffer | undefined = socket.getPeerCertificate()?.raw;
  return raw === undefined ? undefined : new X509Certificate(raw);
}

/** As by Go's VerifyHostname: the common name does not count. */
function hasName(socket: TLSSocket, name: string): boolean {
  const certificate = certificateOf(socket);
  if (certificate === undefined) return false;
  if (isIP(name) !== 0) return certificate.checkIP(name) !== undefined;
  return certificate.checkHost(name, { subject: "never" }) !== undefined;
}
