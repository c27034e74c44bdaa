import { Worker } from "node:worker_threads";
import { RingdError } from "../lib/errors.js";
import type { Logger } from "../log/logger.js";
import type { FrontendInput, WorkerInput, WorkerMessage } from "../messages/topology.js";
import { heapLimitsOf } from "../process/heap.js";
import { type Closable, exitFailed } from "./shutdown.js";

/** The threads that the main thread starts: how they begin, and how it learns that one ended. */

/** A thread that ended without being told to, or that could not begin: the reason it gave. */
export class ThreadError extends RingdError {
  override readonly name = "ThreadError";
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

/** An exception that a thread did not catch: a mistake of ours, so it has no code. */
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

/** All frontends but the main thread's own, by name. */
export function startFrontends(
  input: Omit<FrontendInput, "frontend">,
): Readonly<Record<string, Worker>> {
  const workers = Array.from({ length: input.config.frontendThreads - 1 }, (_, i) => {
    const name = `frontend${i + 1}`;
    const workerData: FrontendInput = { ...input, frontend: i + 1 };
    const worker = new Worker(new URL("./frontend.js", import.meta.url), { name, workerData });
    return [name, worker] as const;
  });
  return Object.fromEntries(workers);
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
 * Rejects when the first of the threads crashes, gives up or just ends, with the reason. Whoever
 * waits for something from a thread waits for this too; once rejected it stays so, at whatever
 * moment it is looked at.
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
        const why = `the ${name} thread ended with code ${code}, unexpectedly`;
        if (!isStopped) reject(new ThreadError("THREAD_ENDED", why));
      });
    }
  });
  return seenLater(failed);
}

/** Not everybody looks at once: until somebody does, a rejection must not count as unhandled. */
export function seenLater(failed: Promise<never>): Promise<never> {
  failed.catch(() => undefined);
  return failed;
}

/** Half a member is worse than none: a thread that crashes takes the process with it. */
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
