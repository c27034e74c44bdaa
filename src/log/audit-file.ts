import { openSync, writeSync } from "node:fs";
import { systemReason } from "../lib/errors.js";
import { refuseUnreadPipe } from "../process/text-file.js";
import { LogOutputError } from "./logger.js";

/** Readable by its owner alone: lines have users, addresses and keys. */
const MODE = 0o600;

export interface AuditFilePorts {
  /** That many lines could not be written. */
  readonly onFailure: (lines: number, reason: string) => void;
  /** Calls back once the current batch of lines is complete. */
  readonly soon: (call: () => void) => void;
}

/**
 * The audit log: appends lines to a file, a batch at a time. A line that cannot be written is lost
 * and counted; the next batch tries again.
 */
export class AuditFile {
  readonly #descriptor: number;
  readonly #ports: AuditFilePorts;
  #lines: string[] = [];
  /** The last write ended within a line. */
  #isTorn = false;

  /** @param target "stdout" or a path @throws LogOutputError */
  constructor(target: string, ports: AuditFilePorts) {
    this.#ports = ports;
    try {
      if (target !== "stdout") refuseUnreadPipe(target);
      this.#descriptor = target === "stdout" ? 1 : openSync(target, "a", MODE);
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
}
