import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";
import { statSync } from "node:fs";
import { join } from "node:path";
import { createSecureContext } from "node:tls";
import type { TlsSettings } from "../config/tls.js";
import { systemReason } from "../lib/errors.js";
import { readFlagFile, readTextFile } from "../process/text-file.js";
import { parseRevoked } from "./revoked.js";
import { TlsFileError } from "./tls-error.js";

const FILE_BYTES_MAX = 2 ** 20;
/** A revocation list of a large organization. */
const CRL_BYTES_MAX = 64 * 2 ** 20;
const CERTIFICATE = /-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g;
const BEGIN = "-----BEGIN CERTIFICATE-----";
const READABLE_BY_ALL = 0o004;

/** The content of all files of one side, checked. */
export interface TlsMaterial {
  /** PEM; undefined without a certificate of our own. */
  readonly pair: TlsPair | undefined;
  /** PEM; undefined without a file. */
  readonly ca: string | undefined;
  /** Serial numbers, hexadecimal; undefined without a list. */
  readonly revoked: ReadonlySet<string> | undefined;
  /** Usable, but an operator should know; each names flag, file and reason. */
  readonly warnings: readonly string[];
}

export interface TlsPair {
  readonly cert: string;
  readonly key: string;
  readonly validFromMs: number;
  readonly validToMs: number;
}

interface NamedFile {
  readonly flag: string;
  readonly file: string;
}

/** The files of a side's flags, or of the generated pair. */
export function filesOf(settings: TlsSettings): { cert: NamedFile; key: NamedFile } {
  const { side, certFile, keyFile, auto } = settings;
  const prefix = side === "peer" ? "--peer-" : "--";
  if (auto === undefined) {
    return {
      cert: { flag: `${prefix}cert-file`, file: certFile },
      key: { flag: `${prefix}key-file`, file: keyFile },
    };
  }
  const flag = `${prefix}auto-tls`;
  return {
    cert: { flag, file: join(auto.dir, "cert.pem") },
    key: { flag, file: join(auto.dir, "key.pem") },
  };
}

/** As etcd logs its TLSInfo. */
export function tlsInfoText(settings: TlsSettings): string {
  const { trustedCaFile, takesCommonName, crlFile } = settings;
  const { cert, key } = filesOf(settings);
  return (
    `cert = ${cert.file}, key = ${key.file}, trusted-ca = ${trustedCaFile}, ` +
    `client-cert-auth = ${takesCommonName}, crl-file = ${crlFile}`
  );
}

/**
 * Reads and checks all files of one side.
 *
 * @throws TlsFileError
 */
export async function readMaterial(settings: TlsSettings, nowMs: number): Promise<TlsMaterial> {
  const { side, trustedCaFile, crlFile, certFile, auto } = settings;
  const warnings: string[] = [];
  const { cert, key } = filesOf(settings);
  const hasPair = certFile !== "" || auto !== undefined;
  const pair = hasPair ? readPair(cert, key, nowMs, warnings) : undefined;
  const prefix = side === "peer" ? "--peer-" : "--";
  const caFlag = `${prefix}trusted-ca-file`;
  const crlFlag = side === "peer" ? "--peer-crl-file" : "--client-crl-file";
  return {
    pair,
    ca: trustedCaFile === "" ? undefined : readCa({ flag: caFlag, file: trustedCaFile }, nowMs),
    revoked: crlFile === "" ? undefined : await readCrl({ flag: crlFlag, file: crlFile }),
    warnings,
  };
}

function readPair(cert: NamedFile, key: NamedFile, nowMs: number, warnings: string[]): TlsPair {
  const certText = readPem(cert, "a certificate");
  const [leaf] = certificatesIn(cert, certText);
  if (leaf === undefined) throw unusable(cert, "holds no certificate in PEM");
  const keyText = readPem(key, "a key");
  if (!leaf.checkPrivateKey(parseKey(key, keyText))) {
    throw unusable(key, `the key does not match the certificate in ${cert.file}`);
  }
  try {
    createSecureContext({ cert: certText, key: keyText });
  } catch (error) {
    throw unusable(cert, reasonOf(error));
  }
  const validFromMs = Date.parse(leaf.validFrom);
  const validToMs = Date.parse(leaf.validTo);
  const { flag, file } = cert;
  if (nowMs > validToMs) warnings.push(`${flag} ${file}: expired at ${iso(validToMs)}`);
  if (nowMs < validFromMs) {
    warnings.push(`${flag} ${file}: not valid before ${iso(validFromMs)}`);
  }
  if ((statSync(key.file).mode & READABLE_BY_ALL) !== 0) {
    warnings.push(`${key.flag} ${key.file}: every user of this host can read the private key`);
  }
  return { cert: certText, key: keyText, validFromMs, validToMs };
}

function readCa(from: NamedFile, nowMs: number): string {
  const text = readPem(from, "a certificate");
  const all = certificatesIn(from, text);
  if (all.length === 0) throw unusable(from, "holds no certificate in PEM");
  // A certificate that has signed itself is trusted, too, as itself.
  const anchors = all.filter((one) => one.ca || one.issuer === one.subject);
  if (anchors.length === 0) throw unusable(from, "holds no certificate of a CA");
  if (anchors.every((one) => Date.parse(one.validTo) < nowMs)) {
    throw unusable(from, `the CA expired at ${iso(Date.parse(anchors[0]?.validTo ?? ""))}`);
  }
  return text;
}

async function readCrl(from: NamedFile): Promise<ReadonlySet<string>> {
  let bytes: Buffer;
  try {
    bytes = readFlagFile(from.file, CRL_BYTES_MAX);
  } catch (error) {
    throw unusable(from, systemReason(error));
  }
  if (bytes.length === 0) throw unusable(from, "is empty");
  const revoked = await parseRevoked(bytes);
  if (revoked === undefined) throw unusable(from, "is not a revocation list in PEM or DER");
  return revoked;
}

function readPem(from: NamedFile, what: string): string {
  let text: string;
  try {
    text = readTextFile(from.file, FILE_BYTES_MAX);
  } catch (error) {
    throw unusable(from, systemReason(error));
  }
  if (text.trim() === "") throw unusable(from, "is empty");
  if (!text.includes("-----BEGIN ")) throw unusable(from, `is not ${what} in PEM`);
  return text;
}

function certificatesIn(from: NamedFile, text: string): X509Certificate[] {
  const all = text.match(CERTIFICATE) ?? [];
  // OpenSSL would silently do without the last one.
  if (text.split(BEGIN).length - 1 > all.length) throw unusable(from, "is truncated");
  try {
    return all.map((pem) => new X509Certificate(pem));
  } catch (error) {
    throw unusable(from, `holds a damaged certificate (${reasonOf(error)})`);
  }
}

function parseKey(from: NamedFile, text: string): KeyObject {
  try {
    return createPrivateKey(text);
  } catch (error) {
    const { code = "" } = error as NodeJS.ErrnoException;
    if (code === "ERR_MISSING_PASSPHRASE" || text.includes("ENCRYPTED")) {
      throw unusable(from, "the key is encrypted; decrypt it first (openssl pkey)");
    }
    throw unusable(from, `is not a private key in PEM (${reasonOf(error)})`);
  }
}

function unusable({ flag, file }: NamedFile, why: string): TlsFileError {
  return new TlsFileError(`cannot use ${flag} ${file}: ${why}`);
}

/** OpenSSL's texts have a number and a function before the reason. */
export function reasonOf(error: unknown): string {
  return systemReason(error).replace(/^error:[0-9A-F]+:/i, "");
}

function iso(ms: number): string {
  return new Date(ms).toISOString();
}
