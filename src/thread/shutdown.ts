import type { Worker } from "node:worker_threads";
import type { RingGateway } from "../frontend/ring-gateway.js";
import type { Logger } from "../log/logger.js";
import type { WorkerMessage } from "../messages/topology.js";
import { notifySupervisor } from "../process/notify.js";

/** Shutdown timeout; then the process exits anyway, as acknowledged writes are safe. */
const STOP_MS = 10_000;
/** Timeout for frontends to close after a thread crashed. */
const FAIL_MS = 1000;

/** A frontend of this thread, or all those of other threads. */
export interface Closable {
  /** Stops accepting; exchanges in flight continue. */
  stopListening(): void;
  /** Closes every connection and handle. */
  close(): void | Promise<void>;
}

export interface ShutdownParts {
  readonly log: Logger;
  readonly gateway: RingGateway;
  /** The owner may add more until the shutdown begins. */
  readonly frontends: readonly Closable[];
  /** Each reports `stopped`. */
  readonly workers: readonly Worker[];
}

/**
 * On SIGTERM and SIGINT: stop accepting, finish requests in flight, close the log, exit 0. A core
 * whose member was removed stops by itself; the first `stopped` then begins the same shutdown.
 */
export function stopOnSignals({ log, gateway, frontends, workers }: ShutdownParts): void {
  let isStopping = false;
  const begin = () => {
    isStopping = true;
    for (const frontend of frontends) frontend.stopListening();
    setTimeout(() => {
      log.error(`shutdown timed out after ${STOP_MS / 1000} s; exiting`);
      process.exit(1);
    }, STOP_MS).unref();
  };
  void whenStopped(workers, () => {
    if (!isStopping) begin();
  }).then(() => {
    // One more turn flushes the last responses.
    setImmediate(() => {
      gateway.close();
      void closeAll(frontends).then(() => {
        log.info("stopped");
        process.exit(0);
      });
    });
  });
  const onSignal = (signal: NodeJS.Signals) => {
    if (isStopping) return;
    log.info(`received signal ${signal}; shutting down`);
    notifySupervisor("STOPPING=1", log);
    begin();
    gateway.stopCore();
  };
  // A terminal that closes. Without one, it is for the log files: see main.ts.
  if (process.stdin.isTTY) process.on("SIGHUP", onSignal);
  process.on("SIGTERM", onSignal);
  process.on("SIGINT", onSignal);
}

/** @param onStopped called when a worker reports `stopped` */
async function whenStopped(workers: readonly Worker[], onStopped: () => void): Promise<void> {
  await Promise.all(
    workers.map(
      (worker) =>
        new Promise<void>((resolve) => {
          worker.on("message", (message: WorkerMessage) => {
            if (message.kind !== "stopped") return;
            onStopped();
            resolve();
          });
        }),
    ),
  );
}

/** Exits 1 once frontends are closed: Node aborts if uWebSockets.js has open handles. */
export function exitFailed(frontends: readonly Closable[]): void {
  setTimeout(() => process.exit(1), FAIL_MS);
  void closeAll(frontends).then(() => process.exit(1));
}

async function closeAll(frontends: readonly Closable[]): Promise<void> {
  await Promise.all(frontends.map((frontend) => frontend.close()));
}
