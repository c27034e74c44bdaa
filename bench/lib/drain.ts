import { get } from "node:http";
import { parentPort, workerData } from "node:worker_threads";

/** What a drain worker reports: one large answer, read and dropped. */
export interface Drained {
  readonly status: number;
  readonly bytes: number;
  readonly firstByteMs: number;
  readonly totalMs: number;
}

/**
 * A worker thread of its own, so that reading the answer does not delay the clients that are timed.
 */
const startedMs = performance.now();
get(String(workerData), { agent: false }, (response) => {
  const firstByteMs = performance.now() - startedMs;
  let bytes = 0;
  response.on("data", (chunk: Buffer) => {
    bytes += chunk.length;
  });
  response.on("end", () => {
    const totalMs = performance.now() - startedMs;
    const drained: Drained = {
      status: response.statusCode ?? 0,
      bytes,
      firstByteMs,
      totalMs,
    };
    parentPort?.postMessage(drained);
  });
  response.on("error", (error) => {
    throw error; // The worker ends with it, and whoever waits for it hears of it.
  });
});
