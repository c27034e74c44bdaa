import { get } from "node:http";
import { parentPort, workerData } from "node:worker_threads";

/** A drain worker's report: one large response, read and dropped. */
export interface Drained {
  readonly status: number;
  readonly bytes: number;
  readonly firstByteMs: number;
  readonly totalMs: number;
}

/** A separate thread, so that reading the response does not delay the timed clients. */
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
    throw error; // It ends the worker, which rejects the wait for it.
  });
});
