import type { LogConfig } from "../config/config.js";
import { createLogCells, createLogger, type Logger, reopenLogFiles } from "../log/logger.js";

/** The log of a process of one thread. Without a terminal, SIGHUP opens its files again. */
export function openProcessLog(config: LogConfig, role: "proxy" | "gateway"): Logger {
  const cells = createLogCells(config.level);
  const log = createLogger(config, role, cells);
  if (process.stdin.isTTY) return log;
  process.on("SIGHUP", () => {
    reopenLogFiles(cells);
    log.info("received signal SIGHUP; log files are opened again");
  });
  return log;
}
