import { closeSync, openSync, writeSync } from "node:fs";
import { systemReason } from "../lib/errors.js";
import { refuseUnreadPipe } from "../process/text-file.js";
import { LogOutputError } from "./logger.js";

/** Readable by its owner alone: lines have users, addresses and keys. */
const MODE = 0o600;
const STDOUT = 1;

export interface AuditFilePorts {
  /** That many lines could not be written. */
  readonly onFailure: (lines: number, reason: string) => void;
  /** Calls back once the current batch of lines is complete. */
  readonly soon: (call: () => void) => void;
  /** Once it has grown, the path may be that of another file. */
  readonly reopenings: () => number;
}

/**
 * The audit log: appends lines to a file, a batch at a time. A line that cannot be written is lost
 * and counted; the next batch tries again. After a rotation it goes to the file that then has the
 * path.
 */
export class AuditFile {
  readonly #target: string;
  readonly #ports: AuditFilePorts;
  #descriptor: number;
  #reopenings: number;
  #lines: string[] = [];
  /** The last write ended within a line. */
  #isTorn = false;

  /** @param target "stdout" or a path @throws LogOutputError */
  constructor(target: string, ports: AuditFilePorts) {
    this.#target = target;
    this.#ports = ports;
    this.#reopenings = ports.reopenings();
    try {
      this.#descriptor = open(target);
    } catch (error) {
      throw new LogOutputError("audit-log", target, systemReason(error));
    }
  }

  /** @param line without a line end */
  write(line: string): void {
    if (this.#lines.length === 0) this.#ports.soon(() => this.flush());
    this.#lines.push(line);
  }

  flush(): void {
    const lines = this.#lines;
    if (lines.length === 0) return;
    this.#lines = [];
    this.#follow();
    const bytes = Buffer.from(`${this.#isTorn ? "\n" : ""}${lines.join("\n")}\n`);
    let at = 0;
    try {
      while (at < bytes.length) at += writeSync(this.#descriptor, bytes, at);
      this.#isTorn = false;
    } catch (error) {
      this.#isTorn ||= at > 0;
      this.#ports.onFailure(lines.length, systemReason(error));
    }
  }

  #follow(): void {
    const reopenings = this.#ports.reopenings();
    if (reopenings === this.#reopenings) return;
    this.#reopenings = reopenings;
    try {
      const descriptor = open(this.#target);
      if (this.#descriptor !== STDOUT) closeSync(this.#descriptor);
      this.#descriptor = descriptor;
      this.#isTorn = false;
    } catch (error) {
      this.#ports.onFailure(0, systemReason(error)); // The former file is better than none.
    }
  }
}

function open(target: string): number {
  if (target === "stdout") return STDOUT;
  refuseUnreadPipe(target);
  return openSync(target, "a", MODE);
}
