import { fstatSync, openSync } from "node:fs";
import { createRequire } from "node:module";
import { isatty } from "node:tty";
import { destination, type Logger, multistream, pino, type StreamEntry } from "pino";
import type pinoPretty from "pino-pretty";
import type { LogConfig, LogLevel } from "../config/config.js";
import { RingdError, systemReason } from "../lib/errors.js";
import { refuseUnreadPipe } from "../process/text-file.js";
import { RepeatFilter } from "./repeats.js";

export type { Logger } from "pino";

/** Threads whose info lines also repeat, with every connection: filtered like warnings. */
const CHATTY: ReadonlySet<string> = new Set(["peer"]);

const require = createRequire(import.meta.url);

/** pino's level numbers, as in the shared cell. */
const LEVELS: Readonly<Record<LogLevel, number>> = pino.levels.values as Record<LogLevel, number>;

/** The log level shared by all threads. */
export function createLevelCell(level: LogLevel): SharedArrayBuffer {
  const memory = new SharedArrayBuffer(4);
  setLogLevel(memory, level);
  return memory;
}

/** Takes effect on each thread with its next line. */
export function setLogLevel(memory: SharedArrayBuffer, level: LogLevel): void {
  Atomics.store(new Int32Array(memory), 0, LEVELS[level]);
}

/**
 * A thread's logger: JSON lines, or pretty ones on a terminal. Each is written before the call
 * returns, so none is lost when the process dies, and supervisors see it at once.
 *
 * @param thread the thread's name, part of each line
 * @param repeats filter of warnings and errors: one of a kind per minute is logged
 */
export function createLogger(
  config: LogConfig,
  thread: string,
  level: SharedArrayBuffer,
  repeats = new RepeatFilter(),
): Logger {
  const filteredFrom = CHATTY.has(thread) ? pino.levels.values.info : pino.levels.values.warn;
  const fatal = pino.levels.values.fatal as number;
  const cell = new Int32Array(level);
  const streams = config.outputs.map((output): StreamEntry => {
    const fd = descriptorOf(output, config.outputsFlag ?? "log-outputs");
    const isPretty =
      config.format === "pretty" || (config.format === "auto" && fd <= 2 && isatty(fd));
    const stream = isPretty ? prettyStream(fd) : destination({ fd, sync: true });
    // A full disk or a broken pipe loses lines, and must not end the member.
    if ("on" in stream && typeof stream.on === "function") stream.on("error", () => undefined);
    return { level: "trace", stream };
  });
  const only = streams[0];
  return pino(
    {
      level: "trace",
      base: { thread },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      hooks: {
        logMethod(input, method, lineLevel) {
          if (lineLevel < Atomics.load(cell, 0)) return;
          const emit = (line: readonly unknown[]) => method.apply(this, line as typeof input);
          if (lineLevel < (filteredFrom as number) || lineLevel >= fatal) emit(input);
          else repeats.log(lineLevel, input, emit);
        },
      },
    },
    streams.length === 1 && only !== undefined ? only.stream : multistream(streams),
  );
}

/** Lazily: it takes each thread longer to load than all of pino. */
function prettyStream(fd: number): StreamEntry["stream"] {
  const pretty: typeof pinoPretty = require("pino-pretty");
  return pretty({ destination: fd, sync: true, ignore: "pid,hostname", colorize: isatty(fd) });
}

/** A log output cannot be opened. */
export class LogOutputError extends RingdError {
  override readonly name = "LogOutputError";
  readonly code = "LOG_OUTPUT";

  constructor(flag: string, output: string, why: string) {
    super(`Cannot open --${flag} ${JSON.stringify(output)}: ${why}`);
  }
}

/** @throws LogOutputError */
function descriptorOf(output: string, flag: string): number {
  if (output === "stdout") return 1;
  if (output === "stderr" || output === "default") return 2;
  if (output === "systemd/journal") {
    if (isJournal(2)) return 2;
    throw new LogOutputError(flag, output, "stderr is not connected to the journal");
  }
  const [, scheme, path = output] = /^([a-z]+):\/\/(.*)$/i.exec(output) ?? [];
  if (scheme !== undefined && scheme !== "file") {
    throw new LogOutputError(flag, output, `unknown output scheme "${scheme}"`);
  }
  try {
    refuseUnreadPipe(path);
    return openSync(path, "a", 0o600);
  } catch (error) {
    throw new LogOutputError(flag, output, systemReason(error));
  }
}

/** JOURNAL_STREAM holds device and inode of the journal's socket (systemd.exec(5)). */
function isJournal(fd: number): boolean {
  const { dev, ino } = fstatSync(fd);
  return process.env.JOURNAL_STREAM === `${dev}:${ino}`;
}
