import type { Worker } from "node:worker_threads";
import type { RingGateway } from "../frontend/ring-gateway.js";
import type { Logger } from "../log/logger.js";
import type { WorkerMessage } from "../messages/topology.js";
import { notifySupervisor } from "../process/notify.js";

/** How long a stop may take before the process ends anyway: nothing acknowledged is at stake. */
const STOP_MS = 10_000;
/** How long frontends may take to close after a thread crashed. */
const FAIL_MS = 1000;

/** A frontend of this thread, or those of other threads. */
export interface Closable {
  /** Stops accepting; open exchanges go on. */
  stopListening(): void;
  /** Drops every connection and handle. */
  close(): void | Promise<void>;
}

export interface ShutdownParts {
  readonly log: Logger;
  readonly gateway: RingGateway;
  /** More may be added until the shutdown begins. */
  readonly frontends: readonly Closable[];
  /** They report `stopped`. */
  readonly workers: readonly Worker[];
}

/**
 * SIGTERM and SIGINT: stop accepting, finish what was accepted, close the log, exit 0. The core
 * also stops by itself, when the member was removed from its cluster; the first `stopped` then
 * begins the same shutdown here.
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
    // One more turn, for the last responses to leave.
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
  process.on("SIGTERM", onSignal);
  process.on("SIGINT", onSignal);
}

/** @param onStopped called for each worker that reports that it stopped */
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

/** Ends the process once frontends are closed: Node aborts where uWebSockets.js is left open. */
export function exitFailed(frontends: readonly Closable[]): void {
  setTimeout(() => process.exit(1), FAIL_MS);
  void closeAll(frontends).then(() => process.exit(1));
}

async function closeAll(frontends: readonly Closable[]): Promise<void> {
  await Promise.all(frontends.map((frontend) => frontend.close()));
}
