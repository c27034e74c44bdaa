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

/** Threads whose news, too, come as often as connections do. */
const CHATTY: ReadonlySet<string> = new Set(["peer"]);

const require = createRequire(import.meta.url);

/** pino's numbers, which the shared cell holds. */
const LEVELS: Readonly<Record<LogLevel, number>> = pino.levels.values as Record<LogLevel, number>;

/** Memory for the level all threads log at. */
export function createLevelCell(level: LogLevel): SharedArrayBuffer {
  const memory = new SharedArrayBuffer(4);
  setLogLevel(memory, level);
  return memory;
}

/** Takes effect on every thread with its next line. */
export function setLogLevel(memory: SharedArrayBuffer, level: LogLevel): void {
  Atomics.store(new Int32Array(memory), 0, LEVELS[level]);
}

/**
 * A thread's logger: JSON lines, or readable ones on a terminal, each written before the call
 * returns, so that nothing is lost when the process dies and supervisors see a line as soon as it
 * is true.
 *
 * @param thread name of the thread, in every line
 * @param repeats what warnings and errors go through: one of a kind and minute is logged
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
    // A full disk or a pipe that nobody reads costs lines, not the member.
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

/** Loaded only where it is needed: that takes each thread longer than all of pino. */
function prettyStream(fd: number): StreamEntry["stream"] {
  const pretty: typeof pinoPretty = require("pino-pretty");
  return pretty({ destination: fd, sync: true, ignore: "pid,hostname", colorize: isatty(fd) });
}

/** A place for log lines that cannot be opened. */
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
    throw new LogOutputError(flag, output, `no output is known for "${scheme}"`);
  }
  try {
    refuseUnreadPipe(path);
    return openSync(path, "a", 0o600);
  } catch (error) {
    throw new LogOutputError(flag, output, systemReason(error));
  }
}

/** Services of systemd are told device and inode of what leads to its journal. */
function isJournal(fd: number): boolean {
  const { dev, ino } = fstatSync(fd);
  return process.env.JOURNAL_STREAM === `${dev}:${ino}`;
}
