export const NOT_TLS = "tls: first record does not look like a TLS handshake";

/** Errors of OpenSSL and Node in the words of Go's crypto/tls, which etcd logs. */
const GO_ERRORS: Readonly<Record<string, string>> = {
  ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE: "tls: client didn't provide a certificate",
  ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE: "remote error: tls: bad certificate",
  ERR_SSL_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE: "remote error: tls: unsupported certificate",
  ERR_SSL_SSLV3_ALERT_CERTIFICATE_REVOKED: "remote error: tls: revoked certificate",
  ERR_SSL_SSLV3_ALERT_CERTIFICATE_EXPIRED: "remote error: tls: expired certificate",
  ERR_SSL_SSLV3_ALERT_CERTIFICATE_UNKNOWN: "remote error: tls: unknown certificate",
  ERR_SSL_TLSV1_ALERT_UNKNOWN_CA: "remote error: tls: unknown certificate authority",
  ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED: "remote error: tls: certificate required",
  ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE: "remote error: tls: handshake failure",
  ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION: "remote error: tls: protocol version not supported",
  ERR_SSL_TLSV1_ALERT_INTERNAL_ERROR: "remote error: tls: internal error",
  ERR_SSL_NO_SHARED_CIPHER: "tls: no cipher suite supported by both client and server",
  ERR_SSL_UNSUPPORTED_PROTOCOL: "tls: client offered only unsupported versions",
  ERR_SSL_VERSION_TOO_LOW: "tls: client offered only unsupported versions",
  ERR_SSL_NO_APPLICATION_PROTOCOL: "tls: client requested unsupported application protocols",
  ERR_SSL_WRONG_VERSION_NUMBER: NOT_TLS,
  ERR_SSL_HTTP_REQUEST: NOT_TLS,
  ERR_TLS_HANDSHAKE_TIMEOUT: "i/o timeout",
  ECONNRESET: "EOF",
};

/** Why a client's certificate was not accepted, by OpenSSL's name of it. */
const UNKNOWN_AUTHORITY = "x509: certificate signed by unknown authority";
const OUT_OF_TIME = "x509: certificate has expired or is not yet valid";
const GO_VERDICTS: Readonly<Record<string, string>> = {
  UNABLE_TO_GET_ISSUER_CERT: UNKNOWN_AUTHORITY,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: UNKNOWN_AUTHORITY,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: UNKNOWN_AUTHORITY,
  DEPTH_ZERO_SELF_SIGNED_CERT: UNKNOWN_AUTHORITY,
  SELF_SIGNED_CERT_IN_CHAIN: UNKNOWN_AUTHORITY,
  CERT_SIGNATURE_FAILURE: UNKNOWN_AUTHORITY,
  CERT_HAS_EXPIRED: OUT_OF_TIME,
  CERT_NOT_YET_VALID: OUT_OF_TIME,
  INVALID_PURPOSE: "x509: certificate specifies an incompatible key usage",
};

/** The error of a handshake that failed, in Go's words. */
export function goHandshakeError(error: Error): string {
  const { code = "", message } = error as NodeJS.ErrnoException;
  return GO_ERRORS[code] ?? (code || message);
}

/** @param verdict OpenSSL's name of why the certificate of a client was not accepted */
export function goVerifyError(verdict: string): string {
  return `tls: failed to verify client's certificate: ${GO_VERDICTS[verdict] ?? verdict}`;
}
