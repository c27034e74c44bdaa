import {
  ConnectError,
  ConnectionLostError,
  EndpointError,
  MaybeAppliedError,
  TimeoutError,
  UnavailableError,
} from "../../client/errors.js";
import { type Failure, keyFailure } from "./exit.js";

/**
 * What went wrong on the way to the cluster, in the words of Go's net and tls packages, which is what etcdctl
 * prints and people search for.
 */

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

/** An endpoint that cannot be asked at all. */
export class UnreachableError extends EndpointError {
  override readonly name = "UnreachableError";
  readonly code = "UNREACHABLE";
  /** Whether it is dialing that fails, and no check before. */
  readonly isDial: boolean;

  constructor(endpoint: string, text: string, isDial: boolean) {
    super(text, endpoint, false);
    this.isDial = isDial;
  }
}

/** How an error of a call is shown. `detail` is one line for each endpoint, with an empty line behind them. */
export interface Shown {
  readonly text: string;
  readonly detail: string;
}

/**
 * @param isOneShot for a request that etcdctl sends to one endpoint only; it shows that one's error alone
 */
export async function show(error: unknown, isOneShot = false): Promise<Shown> {
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

/** As key commands end. */
export async function toKeyFailure(
  exitCode: number,
  error: unknown,
  isOneShot = false,
): Promise<Failure> {
  const { text, detail } = await show(error, isOneShot);
  return keyFailure(exitCode, text + detail);
}

/** Whether no endpoint could be reached at all, which etcdctl tells apart by its exit code. */
export function isConnectionTrouble(error: unknown): boolean {
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
  /** The name that was asked for, and the certificate that does not have it. */
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
  // A name with several addresses: one error for each.
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
    const why = systemCode === "ENOTFOUND" ? "no such host" : "server misbehaving";
    return `dial tcp: lookup ${new URL(endpoint).hostname} on ${server}:53: ${why}`;
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
