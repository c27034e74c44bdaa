export const NOT_TLS = "tls: first record does not look like a TLS handshake";
const NO_CERTIFICATE = "tls: client didn't provide a certificate";
const WRONG_VERSION = "tls: client offered only unsupported versions";
export const TIMED_OUT = "i/o timeout";
export const TOO_MANY_HANDSHAKES = "too many handshakes in flight";

/** Errors of OpenSSL and Node in the words of Go's crypto/tls, which etcd logs. */
const GO_ERRORS: Readonly<Record<string, string>> = {
  ECONNRESET: "EOF",
  EPIPE: "EOF",
  ERR_SSL_DECRYPTION_FAILED_OR_BAD_RECORD_MAC: "local error: tls: bad record MAC",
  ERR_SSL_HTTPS_PROXY_REQUEST: NOT_TLS,
  ERR_SSL_HTTP_REQUEST: NOT_TLS,
  ERR_SSL_NO_APPLICATION_PROTOCOL: "tls: client requested unsupported application protocols",
  ERR_SSL_NO_SHARED_CIPHER: "tls: no cipher suite supported by both client and server",
  ERR_SSL_PACKET_LENGTH_TOO_LONG: NOT_TLS,
  ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE: NO_CERTIFICATE,
  ERR_SSL_UNSUPPORTED_PROTOCOL: WRONG_VERSION,
  ERR_SSL_VERSION_TOO_LOW: WRONG_VERSION,
  ERR_SSL_WRONG_VERSION_NUMBER: NOT_TLS,
  ERR_TLS_HANDSHAKE_TIMEOUT: TIMED_OUT,
};

/** Alerts of the other side whose names in Go and OpenSSL differ. */
const GO_ALERTS: Readonly<Record<string, string>> = {
  bad_record_mac: "bad record MAC",
  certificate_expired: "expired certificate",
  certificate_revoked: "revoked certificate",
  certificate_unknown: "unknown certificate",
  decode_error: "error decoding message",
  decrypt_error: "error decrypting message",
  protocol_version: "protocol version not supported",
  unknown_ca: "unknown certificate authority",
};

const UNKNOWN_AUTHORITY = "x509: certificate signed by unknown authority";
const OUT_OF_TIME = "x509: certificate has expired or is not yet valid";

/** Why a certificate does not lead to a trusted CA, by OpenSSL's name of it. */
const GO_VERDICTS: Readonly<Record<string, string>> = {
  CERT_HAS_EXPIRED: OUT_OF_TIME,
  CERT_NOT_YET_VALID: OUT_OF_TIME,
  CERT_SIGNATURE_FAILURE: UNKNOWN_AUTHORITY,
  CERT_UNTRUSTED: UNKNOWN_AUTHORITY,
  DEPTH_ZERO_SELF_SIGNED_CERT: UNKNOWN_AUTHORITY,
  INVALID_PURPOSE: "x509: certificate specifies an incompatible key usage",
  SELF_SIGNED_CERT_IN_CHAIN: UNKNOWN_AUTHORITY,
  UNABLE_TO_GET_ISSUER_CERT: UNKNOWN_AUTHORITY,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: UNKNOWN_AUTHORITY,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: UNKNOWN_AUTHORITY,
};

/** The error of a handshake that failed, in Go's words. */
export function goHandshakeError(error: Error): string {
  const { code = "", message } = error as NodeJS.ErrnoException;
  const known = GO_ERRORS[code];
  if (known !== undefined) return known;
  const [, alert] = /^ERR_SSL_(?:SSLV3|TLSV1|TLSV13)_ALERT_(\w+)$/.exec(code) ?? [];
  if (alert === undefined) return code || message;
  const name = alert.toLowerCase();
  return `remote error: tls: ${GO_ALERTS[name] ?? name.replaceAll("_", " ")}`;
}

/** The error of a connection, with TLS or without. OpenSSL's own texts differ every time. */
export function connectionError(error: Error): string {
  const { code = "", message } = error as NodeJS.ErrnoException;
  return code.startsWith("ERR_SSL_") ? goHandshakeError(error) : message;
}

/** @param verdict OpenSSL's name of why the certificate of a client was not accepted */
export function goVerifyError(verdict: string): string {
  return `tls: failed to verify client certificate: ${goChainError(verdict)}`;
}

/** @param verdict OpenSSL's name of why a certificate was not accepted */
export function goChainError(verdict: string): string {
  return GO_VERDICTS[verdict] ?? `x509: ${verdict.toLowerCase().replaceAll("_", " ")}`;
}
