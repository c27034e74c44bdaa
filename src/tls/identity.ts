import { statSync } from "node:fs";
import { createSecureContext, type TlsOptions } from "node:tls";
import type { TlsSettings } from "../config/tls.js";
import type { Logger } from "../log/logger.js";
import type { MetricCells } from "../metrics/cells.js";
import { cellOf } from "../metrics/families.js";
import { contextOptions, serverOptions } from "./contexts.js";
import { filesOf, readMaterial, reasonOf, type TlsMaterial } from "./files.js";
import { ensureSelfSigned } from "./self-signed.js";
import { TlsFileError } from "./tls-error.js";

const POLL_MS = 2000;
const DAY_MS = 24 * 60 * 60 * 1000;
const WARNED_DAYS_BEFORE = 30;
const EXPIRY = {
  client: cellOf("tlsExpiry", "client"),
  peer: cellOf("tlsExpiry", "peer"),
} as const;

export interface TlsOwner {
  readonly log: Logger;
  /** Of the one thread of a side that renews a generated pair, warns of its end and shows it. */
  readonly metrics: MetricCells | undefined;
  /** For tests. */
  readonly pollMs?: number;
}

/**
 * The certificates of one side. Its files are looked at every two seconds; what can be used takes
 * the place of what was in use, and anything else is logged once and kept out, such as a new
 * certificate whose key is not written yet.
 */
export class TlsIdentity {
  readonly settings: TlsSettings;
  readonly #owner: TlsOwner;
  #material: TlsMaterial;
  /** Of the files as last read. */
  #seen: string;
  #timer: NodeJS.Timeout;
  #isBusy = false;
  #checkedDay = -1;
  readonly #listeners: ((material: TlsMaterial) => void)[] = [];

  /** @throws TlsFileError */
  static async open(settings: TlsSettings, owner: TlsOwner): Promise<TlsIdentity> {
    if (owner.metrics !== undefined) await renew(settings, owner.log);
    const seen = signatureOf(settings);
    const material = await readChecked(settings);
    return new TlsIdentity(settings, owner, material, seen);
  }

  private constructor(settings: TlsSettings, owner: TlsOwner, material: TlsMaterial, seen: string) {
    this.settings = settings;
    this.#owner = owner;
    this.#material = material;
    this.#seen = seen;
    if (owner.metrics !== undefined) for (const line of material.warnings) owner.log.warn(line);
    this.#lookAtEnd();
    this.#timer = setInterval(() => void this.look(), owner.pollMs ?? POLL_MS);
    this.#timer.unref();
  }

  get material(): TlsMaterial {
    return this.#material;
  }

  serverOptions(): TlsOptions {
    return serverOptions(this.settings, this.#material);
  }

  /** @param listener called whenever other files are in use */
  onChange(listener: (material: TlsMaterial) => void): void {
    this.#listeners.push(listener);
  }

  close(): void {
    clearInterval(this.#timer);
  }

  /** Reads the files if they have changed since. */
  async look(): Promise<void> {
    if (this.#isBusy) return;
    this.#isBusy = true;
    const { log } = this.#owner;
    try {
      this.#lookAtEnd();
      const seen = signatureOf(this.settings);
      if (seen === this.#seen) return;
      this.#seen = seen; // Also if they cannot be used: they are read again when they change.
      this.#material = await readChecked(this.settings);
      log.info(`${this.settings.side} TLS: certificate files have changed and are in use`);
      for (const line of this.#material.warnings) log.warn(line);
      this.#checkedDay = -1;
      this.#lookAtEnd();
      for (const listener of this.#listeners) listener(this.#material);
    } catch (error) {
      // Also one that vanished between two calls: the next look finds what has come of it.
      log.warn(`${(error as Error).message}; the former files stay in use`);
    } finally {
      this.#isBusy = false;
    }
  }

  /** Once a day: warns, renews a generated pair. */
  #lookAtEnd(): void {
    const { log, metrics } = this.#owner;
    const { pair } = this.#material;
    const nowMs = Date.now();
    const day = Math.floor(nowMs / DAY_MS);
    if (metrics === undefined || pair === undefined || day === this.#checkedDay) return;
    this.#checkedDay = day;
    metrics.set(EXPIRY[this.settings.side], Math.floor(pair.validToMs / 1000));
    const daysLeft = (pair.validToMs - nowMs) / DAY_MS;
    if (daysLeft > WARNED_DAYS_BEFORE) return;
    if (this.settings.auto !== undefined) {
      renew(this.settings, log).catch((error: unknown) => log.error(String(error)));
      return;
    }
    const { flag, file } = filesOf(this.settings).cert;
    if (daysLeft > 0) log.warn(`${flag} ${file}: expires in ${Math.floor(daysLeft)} days`);
    else log.error(`${flag} ${file}: has expired`);
  }
}

/** Such as a CA whose signature OpenSSL considers too weak. @throws TlsFileError */
async function readChecked(settings: TlsSettings): Promise<TlsMaterial> {
  const material = await readMaterial(settings, Date.now());
  try {
    createSecureContext(contextOptions(settings, material));
  } catch (error) {
    const files = [filesOf(settings).cert.file, settings.trustedCaFile].filter(Boolean);
    throw new TlsFileError(`cannot use ${files.join(" and ")}: ${reasonOf(error)}`);
  }
  return material;
}

async function renew(settings: TlsSettings, log: Logger): Promise<void> {
  const made = await ensureSelfSigned(settings, Date.now());
  if (made !== undefined) log.info(made);
}

/** Changes whenever one of the files does: also a symbolic link in its path, or a rename. */
function signatureOf(settings: TlsSettings): string {
  const { cert, key } = filesOf(settings);
  const files = [cert.file, key.file, settings.trustedCaFile, settings.crlFile];
  return files.map(signatureOfFile).join(" ");
}

function signatureOfFile(file: string): string {
  if (file === "") return "-";
  try {
    const { ino, size, mtimeMs, ctimeMs } = statSync(file);
    return `${ino}:${size}:${mtimeMs}:${ctimeMs}`;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? "?";
  }
}
