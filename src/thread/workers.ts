import { Worker } from "node:worker_threads";
import { hasTlsThread } from "../config/frontends.js";
import { RingdError } from "../lib/errors.js";
import type { Logger } from "../log/logger.js";
import type { FrontendInput, WorkerInput, WorkerMessage } from "../messages/topology.js";
import { heapLimitsOf } from "../process/heap.js";
import { type Closable, exitFailed } from "./shutdown.js";

/** Starts the worker threads, and reports to the main thread when one fails. */

/** A thread ended unasked, or could not start; the message is the reason it gave. */
export class ThreadError extends RingdError {
  override readonly name = "ThreadError";
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

/** An uncaught exception of a thread: our bug, so it has no code. */
export class ThreadCrash extends Error {
  override readonly name = "ThreadCrash";

  constructor(thread: string, cause: unknown) {
    super(`thread crashed: ${thread}`, { cause });
  }
}

export function startWorker(name: "wal" | "core" | "peer", input: WorkerInput): Worker {
  return new Worker(new URL(`./${name}.js`, import.meta.url), {
    name,
    workerData: input,
    resourceLimits: heapLimitsOf(name),
  });
}

/** Starts the frontends that share the main thread's ports. @returns workers by name */
export function startFrontends(
  input: Omit<FrontendInput, "frontend">,
): Readonly<Record<string, Worker>> {
  const numbers = Array.from({ length: input.config.frontendThreads - 1 }, (_, i) => i + 1);
  return Object.fromEntries(numbers.map((number) => startFrontend({ ...input, frontend: number })));
}

/** Starts the frontend of the ports with TLS. @returns no worker if there are none */
export function startTlsFrontend(
  input: Pick<FrontendInput, "config" | "topology">,
): Readonly<Record<string, Worker>> {
  const { config } = input;
  if (!hasTlsThread(config)) return {};
  const frontend = config.frontendThreads;
  const one = startFrontend({ ...input, frontend, identity: undefined, endpoints: [] });
  return Object.fromEntries([one]);
}

function startFrontend(workerData: FrontendInput): readonly [name: string, worker: Worker] {
  const name = `frontend${workerData.frontend}`;
  return [name, new Worker(new URL("./frontend.js", import.meta.url), { name, workerData })];
}

type Said<K extends WorkerMessage["kind"]> = Extract<WorkerMessage, { kind: K }>;

/** Resolves with the first worker's message when all of `workers` have sent one of that kind. */
export async function whenSaid<K extends WorkerMessage["kind"]>(
  kind: K,
  workers: readonly Worker[],
): Promise<Said<K>> {
  const said = workers.map(
    (worker) =>
      new Promise<Said<K>>((resolve) => {
        worker.on("message", (message: WorkerMessage) => {
          if (message.kind === kind) resolve(message as Said<K>);
        });
      }),
  );
  const [first] = await Promise.all(said);
  return first as Said<K>;
}

/**
 * Rejects when the first of the threads crashes, gives up or exits unasked, with the reason. Race
 * every wait for a thread's message against it: it stays rejected, so a race begun later loses too.
 */
export function whenFailed(workers: Readonly<Record<string, Worker>>): Promise<never> {
  const failed = new Promise<never>((_, reject) => {
    for (const [name, worker] of Object.entries(workers)) {
      let isStopped = false;
      worker.on("error", (error) => reject(new ThreadCrash(name, error)));
      worker.on("message", (message: WorkerMessage) => {
        if (message.kind === "failed") reject(new ThreadError(message.code, message.message));
        isStopped ||= message.kind === "stopped";
      });
      worker.on("exit", (code) => {
        const why = `the ${name} thread ended unexpectedly, with code ${code}`;
        if (!isStopped) reject(new ThreadError("THREAD_ENDED", why));
      });
    }
  });
  return seenLater(failed);
}

/** Keeps a rejection that no one awaits yet from counting as unhandled. */
export function seenLater(failed: Promise<never>): Promise<never> {
  failed.catch(() => undefined);
  return failed;
}

/** Ends the process when a thread fails: a member without one of its threads is worse than none. */
export function failFast(
  log: Logger,
  failed: Promise<never>,
  frontends: readonly Closable[],
): void {
  failed.catch((error: unknown) => {
    log.fatal({ err: error }, error instanceof Error ? error.message : "thread crashed");
    exitFailed(frontends);
  });
}
