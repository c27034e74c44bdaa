import {
  ConnectError,
  ConnectionLostError,
  EndpointError,
  MaybeAppliedError,
  TimeoutError,
  UnavailableError,
} from "../../client/errors.js";
import { type Failure, keyFailure } from "./exit.js";

/** Connection errors in the words of Go's net and tls packages, which people know from etcdctl. */

const SYSTEM_TEXTS: Readonly<Record<string, string>> = {
  ECONNREFUSED: "connect: connection refused",
  EHOSTUNREACH: "connect: no route to host",
  ENETUNREACH: "connect: network is unreachable",
  EADDRNOTAVAIL: "connect: cannot assign requested address",
  EACCES: "connect: permission denied",
  ETIMEDOUT: "i/o timeout",
};

const CERTIFICATE_TEXTS: Readonly<Record<string, string>> = {
  DEPTH_ZERO_SELF_SIGNED_CERT: "x509: certificate signed by unknown authority",
  SELF_SIGNED_CERT_IN_CHAIN: "x509: certificate signed by unknown authority",
  UNABLE_TO_GET_ISSUER_CERT: "x509: certificate signed by unknown authority",
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: "x509: certificate signed by unknown authority",
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: "x509: certificate signed by unknown authority",
  CERT_HAS_EXPIRED: "x509: certificate has expired or is not yet valid",
  CERT_NOT_YET_VALID: "x509: certificate has expired or is not yet valid",
};

/** An endpoint that no client can reach: a scheme, host or port that does not exist. */
export class UnreachableError extends EndpointError {
  override readonly name = "UnreachableError";
  readonly code = "UNREACHABLE";
  /** Whether etcdctl would fail when it dials, not in a check before. */
  readonly isDial: boolean;

  constructor(endpoint: string, text: string, isDial: boolean) {
    super(text, endpoint, false);
    this.isDial = isDial;
  }
}

/** A printable error. `detail`: one line for each endpoint, followed by an empty line. */
export interface ErrorText {
  readonly text: string;
  readonly detail: string;
}

/**
 * @param isOneShot for a request sent to one endpoint only; etcdctl prints just its error
 */
export async function errorText(error: unknown, isOneShot = false): Promise<ErrorText> {
  if (error instanceof TimeoutError) return { text: "context deadline exceeded", detail: "" };
  if (error instanceof UnavailableError || error instanceof MaybeAppliedError) {
    const errors = error instanceof UnavailableError ? error.errors : [error.cause];
    const texts = await Promise.all(errors.map(endpointText));
    if (isOneShot) return { text: texts[0] ?? error.message, detail: "" };
    const list = texts.map((text, n) => `error #${n}: ${text}\n`);
    const all = list.map((line) => `; ${line}`).join("");
    return {
      text: `client: etcd cluster is unavailable or misconfigured${all}`,
      detail: `\n${list.join("")}`,
    };
  }
  return { text: error instanceof Error ? error.message : String(error), detail: "" };
}

/** In the form of key commands. */
export async function toKeyFailure(
  exitCode: number,
  error: unknown,
  isOneShot = false,
): Promise<Failure> {
  const { text, detail } = await errorText(error, isOneShot);
  return keyFailure(exitCode, text + detail);
}

/** Whether no endpoint could be reached at all: etcdctl has an exit code of its own for this. */
export function isConnectionFailure(error: unknown): boolean {
  if (error instanceof TimeoutError) return true;
  if (!(error instanceof UnavailableError)) return false;
  return error.errors.every(
    (each) =>
      (each instanceof ConnectError &&
        (each.systemCode in SYSTEM_TEXTS || /^E(NOTFOUND|AI_)/.test(each.systemCode))) ||
      (each instanceof ConnectionLostError && each.systemCode === "ECONNRESET") ||
      (each instanceof UnreachableError && each.isDial),
  );
}

export async function endpointText(error: EndpointError): Promise<string> {
  if (error instanceof ConnectError) return await connectText(error);
  if (error instanceof ConnectionLostError) {
    return error.systemCode === "ECONNRESET" ? "connection reset by peer" : "EOF";
  }
  return error.message;
}

interface SystemError extends NodeJS.ErrnoException {
  readonly hostname?: string;
  readonly address?: string;
  readonly port?: number;
  readonly reason?: string;
  /** The requested name, and the certificate that lacks it. */
  readonly host?: string;
  readonly cert?: { readonly subjectaltname?: string };
}

/** `subjectaltname` is `DNS:a, IP Address:1.2.3.4`. */
function wrongNameText({ host = "", cert }: SystemError): string {
  const isAddress = /^[\d.]+$|:/.test(host);
  const kind = isAddress ? "IP Address:" : "DNS:";
  const names = (cert?.subjectaltname ?? "")
    .split(", ")
    .filter((name) => name.startsWith(kind))
    .map((name) => name.slice(kind.length));
  if (isAddress && names.length === 0) {
    return `x509: cannot validate certificate for ${host} because it doesn't contain any IP SANs`;
  }
  if (names.length === 0) {
    return `x509: certificate is not valid for any names, but wanted to match ${host}`;
  }
  return `x509: certificate is valid for ${names.join(", ")}, not ${host}`;
}

async function connectText(error: ConnectError): Promise<string> {
  const { systemCode, endpoint } = error;
  const { cause } = error;
  // A name with several addresses has one error for each.
  const first = (cause instanceof AggregateError ? cause.errors[0] : cause) as SystemError;
  const system = SYSTEM_TEXTS[systemCode];
  if (system !== undefined) {
    const url = new URL(endpoint);
    const host = first.address ?? url.hostname;
    const port = first.port ?? (url.port || (url.protocol === "https:" ? 443 : 80));
    return `dial tcp ${host.includes(":") ? `[${host}]` : host}:${port}: ${system}`;
  }
  if (systemCode === "ENOTFOUND" || systemCode.startsWith("EAI_")) {
    const { getServers } = await import("node:dns");
    const [server = ""] = getServers();
    const reason = systemCode === "ENOTFOUND" ? "no such host" : "server misbehaving";
    return `dial tcp: lookup ${new URL(endpoint).hostname} on ${server}:53: ${reason}`;
  }
  const certificate = CERTIFICATE_TEXTS[systemCode];
  if (certificate !== undefined) return certificate;
  if (systemCode === "ERR_TLS_CERT_ALTNAME_INVALID") return wrongNameText(first);
  if (systemCode === "EPROTO" || systemCode.startsWith("ERR_SSL_")) {
    return /wrong.version.number|packet.length/i.test(first.message)
      ? "tls: first record does not look like a TLS handshake"
      : `remote error: tls: ${first.reason ?? first.message}`;
  }
  if (systemCode === "ECONNRESET" || systemCode === "") return "EOF";
  return error.message;
}
