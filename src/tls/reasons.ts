/** Why a handshake or a certificate failed, in the words of Go's crypto/tls and crypto/x509. */

/** Texts of alerts that the other side sent, where Go's differ from OpenSSL's names. */
const ALERTS: Readonly<Record<string, string>> = {
  bad_record_mac: "bad record MAC",
  certificate_expired: "expired certificate",
  certificate_revoked: "revoked certificate",
  certificate_unknown: "unknown certificate",
  decode_error: "error decoding message",
  decrypt_error: "error decrypting message",
  protocol_version: "protocol version not supported",
  unknown_ca: "unknown certificate authority",
};

const NOT_TLS = "tls: first record does not look like a TLS handshake";

const HANDSHAKE_ERRORS: Readonly<Record<string, string>> = {
  ECONNRESET: "EOF",
  EPIPE: "EOF",
  ERR_SSL_HTTP_REQUEST: NOT_TLS,
  ERR_SSL_HTTPS_PROXY_REQUEST: NOT_TLS,
  ERR_SSL_WRONG_VERSION_NUMBER: NOT_TLS,
  ERR_SSL_PACKET_LENGTH_TOO_LONG: NOT_TLS,
  ERR_SSL_NO_SHARED_CIPHER: "tls: no cipher suite supported by both client and server",
  ERR_SSL_UNSUPPORTED_PROTOCOL: "tls: the other side offers only unsupported versions",
  ERR_SSL_UNKNOWN_PROTOCOL: NOT_TLS,
  ERR_TLS_HANDSHAKE_TIMEOUT: "tls: handshake timed out",
};

const UNKNOWN_AUTHORITY = "x509: certificate signed by unknown authority";
const NOT_NOW = "x509: certificate has expired or is not yet valid";

/** By OpenSSL's code, which is a socket's `authorizationError`. */
const CHAIN_ERRORS: Readonly<Record<string, string>> = {
  CERT_HAS_EXPIRED: NOT_NOW,
  CERT_NOT_YET_VALID: NOT_NOW,
  CERT_REVOKED: "x509: certificate revoked",
  CERT_SIGNATURE_FAILURE: "x509: invalid signature",
  CERT_UNTRUSTED: UNKNOWN_AUTHORITY,
  DEPTH_ZERO_SELF_SIGNED_CERT: UNKNOWN_AUTHORITY,
  INVALID_CA: "x509: invalid CA certificate",
  INVALID_PURPOSE: "x509: certificate specifies an incompatible key usage",
  SELF_SIGNED_CERT_IN_CHAIN: UNKNOWN_AUTHORITY,
  UNABLE_TO_GET_ISSUER_CERT: UNKNOWN_AUTHORITY,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: UNKNOWN_AUTHORITY,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: UNKNOWN_AUTHORITY,
};

/** Of an error during the handshake. */
export function handshakeReason(error: unknown): string {
  const { code = "", message, reason } = error as NodeJS.ErrnoException & { reason?: string };
  const known = HANDSHAKE_ERRORS[code];
  if (known !== undefined) return known;
  const [, alert] = /^ERR_SSL_(?:SSLV3|TLSV1|TLSV13)_ALERT_(\w+)$/.exec(code) ?? [];
  if (alert !== undefined) {
    const name = alert.toLowerCase();
    return `remote error: tls: ${ALERTS[name] ?? name.replaceAll("_", " ")}`;
  }
  return reason === undefined ? message : `tls: ${reason}`;
}

/** Of a certificate that does not lead to a trusted CA. */
export function chainReason(code: string): string {
  return CHAIN_ERRORS[code] ?? `x509: ${code.toLowerCase().replaceAll("_", " ")}`;
}
