import { fstatSync } from "node:fs";
import { createRequire } from "node:module";
import { isatty } from "node:tty";
import { destination, type Logger, multistream, pino, type StreamEntry } from "pino";
import type pinoPretty from "pino-pretty";
import type { LogConfig, LogLevel } from "../config/config.js";
import { RingdError, systemReason } from "../lib/errors.js";
import { LogFile } from "./log-file.js";
import { RepeatFilter } from "./repeats.js";

export type { Logger } from "pino";

/** Threads whose info lines also repeat, with every connection: filtered like warnings. */
const CHATTY: ReadonlySet<string> = new Set(["peer"]);

const require = createRequire(import.meta.url);

/** pino's level numbers, as in the shared cell. */
const LEVELS: Readonly<Record<LogLevel, number>> = pino.levels.values as Record<LogLevel, number>;

/** Cells: the level, and how often files were to be reopened. */
const LEVEL = 0;
const REOPENINGS = 1;

/** What all threads share for their logs. */
export function createLogCells(level: LogLevel): SharedArrayBuffer {
  const memory = new SharedArrayBuffer(2 * Int32Array.BYTES_PER_ELEMENT);
  setLogLevel(memory, level);
  return memory;
}

/** Takes effect on each thread with its next line. */
export function setLogLevel(memory: SharedArrayBuffer, level: LogLevel): void {
  Atomics.store(new Int32Array(memory), LEVEL, LEVELS[level]);
}

/** Makes each thread open its log files anew with its next line: they may have been rotated. */
export function reopenLogFiles(memory: SharedArrayBuffer): void {
  Atomics.add(new Int32Array(memory), REOPENINGS, 1);
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
  memory: SharedArrayBuffer,
  repeats = new RepeatFilter(),
): Logger {
  const filteredFrom = CHATTY.has(thread) ? pino.levels.values.info : pino.levels.values.warn;
  const fatal = pino.levels.values.fatal as number;
  const cells = new Int32Array(memory);
  const reopenings = () => Atomics.load(cells, REOPENINGS);
  const streams = config.outputs.map((output): StreamEntry => {
    const target = targetOf(output, config.outputsFlag ?? "log-outputs", reopenings);
    const isTerminal = typeof target === "number" && isatty(target);
    const isPretty = config.format === "pretty" || (config.format === "auto" && isTerminal);
    const stream = isPretty ? prettyStream(target, isTerminal) : plainStream(target);
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
          if (lineLevel < Atomics.load(cells, LEVEL)) return;
          const emit = (line: readonly unknown[]) => method.apply(this, line as typeof input);
          if (lineLevel < (filteredFrom as number) || lineLevel >= fatal) emit(input);
          else repeats.log(lineLevel, input, emit);
        },
      },
    },
    streams.length === 1 && only !== undefined ? only.stream : multistream(streams),
  );
}

function plainStream(target: number | LogFile): StreamEntry["stream"] {
  return typeof target === "number" ? destination({ fd: target, sync: true }) : target;
}

/** Lazily: it takes each thread longer to load than all of pino. */
function prettyStream(target: number | LogFile, colorize: boolean): StreamEntry["stream"] {
  const pretty: typeof pinoPretty = require("pino-pretty");
  return pretty({ destination: target, sync: true, ignore: "pid,hostname", colorize });
}

/** A log output cannot be opened. */
export class LogOutputError extends RingdError {
  override readonly name = "LogOutputError";
  readonly code = "LOG_OUTPUT";

  constructor(flag: string, output: string, why: string) {
    super(`Cannot open --${flag} ${JSON.stringify(output)}: ${why}`);
  }
}

/** @returns a descriptor of the process, or a file @throws LogOutputError */
function targetOf(output: string, flag: string, reopenings: () => number): number | LogFile {
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
    return new LogFile(path, reopenings);
  } catch (error) {
    throw new LogOutputError(flag, output, systemReason(error));
  }
}

/** JOURNAL_STREAM holds device and inode of the journal's socket (systemd.exec(5)). */
function isJournal(fd: number): boolean {
  const { dev, ino } = fstatSync(fd);
  return process.env.JOURNAL_STREAM === `${dev}:${ino}`;
}
