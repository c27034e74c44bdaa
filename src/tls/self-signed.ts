import { randomUUID } from "node:crypto";
import { mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { isIP } from "node:net";
import { join } from "node:path";
import type { TlsSettings } from "../config/tls.js";
import { systemReason } from "../lib/errors.js";
import { filesOf, readMaterial } from "./files.js";
import { TlsFileError } from "./tls-error.js";

const DAY_MS = 24 * 60 * 60 * 1000;
/** As etcd's. */
const VALID_DAYS = 365;
const RENEWED_DAYS_BEFORE = 30;
/** Clocks of clients may be behind. */
const EARLIER_MS = 60 * 60 * 1000;
const DIR_MODE = 0o700;
const FILE_MODE = 0o600;
/** Always in the certificate: who listens on all addresses is reached by these, too. */
const LOCAL = ["localhost", "127.0.0.1", "::1"];

/**
 * Makes the pair of `--auto-tls` or `--peer-auto-tls`, unless there is one that is not about to
 * end. Nothing to do without the flag.
 *
 * @returns what was done, for the log; undefined: nothing
 * @throws TlsFileError
 */
export async function ensureSelfSigned(
  settings: TlsSettings,
  nowMs: number,
): Promise<string | undefined> {
  const { auto } = settings;
  if (auto === undefined) return undefined;
  const why = await whyNew(settings, nowMs);
  if (why === undefined) return undefined;
  const { cert, key } = filesOf(settings);
  const made = await makePair(auto.hosts, nowMs);
  try {
    mkdirSync(auto.dir, { recursive: true, mode: DIR_MODE });
    // The certificate last: it is the one that makes a pair of them.
    replaceFile(auto.dir, key.file, made.key);
    replaceFile(auto.dir, cert.file, made.cert);
  } catch (error) {
    throw new TlsFileError(`cannot use ${cert.flag} ${auto.dir}: ${systemReason(error)}`);
  }
  return `created cert file ${cert.file} and key file ${key.file} (${why})`;
}

async function whyNew(settings: TlsSettings, nowMs: number): Promise<string | undefined> {
  const own: TlsSettings = { ...settings, trustedCaFile: "", crlFile: "" };
  try {
    const { pair } = await readMaterial(own, nowMs);
    const leftMs = (pair?.validToMs ?? 0) - nowMs;
    return leftMs < RENEWED_DAYS_BEFORE * DAY_MS ? "the former pair ends soon" : undefined;
  } catch (error) {
    if (!(error instanceof TlsFileError)) throw error;
    return error.message.endsWith("no such file or directory") ? "first use" : error.message;
  }
}

/** A file with a new name first: no other thread or process reads half of it. */
function replaceFile(dir: string, file: string, text: string): void {
  const temporary = join(dir, `.${randomUUID()}`);
  try {
    writeFileSync(temporary, text, { mode: FILE_MODE, flag: "wx", flush: true });
    renameSync(temporary, file);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}

async function makePair(
  hosts: readonly string[],
  nowMs: number,
): Promise<{ cert: string; key: string }> {
  const { generate } = await import("selfsigned"); // 200 modules that most members never need.
  const names = [...new Set([...hosts, ...LOCAL])].filter((host) => host !== "");
  const made = await generate([{ name: "organizationName", value: "etcd" }], {
    keyType: "ec",
    curve: "P-256",
    algorithm: "sha256",
    notBeforeDate: new Date(nowMs - EARLIER_MS),
    notAfterDate: new Date(nowMs + VALID_DAYS * DAY_MS),
    extensions: [
      { name: "basicConstraints", cA: false, critical: true },
      { name: "keyUsage", digitalSignature: true, keyEncipherment: true, critical: true },
      { name: "extKeyUsage", serverAuth: true, clientAuth: true },
      {
        name: "subjectAltName",
        altNames: names.map((name) =>
          isIP(name) === 0 ? { type: 2, value: name } : { type: 7, ip: name },
        ),
      },
    ],
  });
  return { cert: made.cert, key: made.private };
}
