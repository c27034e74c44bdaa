import assert from "node:assert/strict";
import { test } from "node:test";
import { Worker } from "node:worker_threads";
import type { FillerInput, Shape } from "./heap-filler.js";

const HEAP_MB = 32;
const FILLER = new URL("./heap-filler.js", import.meta.url);

/** Node keeps values above 1 MB outside of V8's heap; they count, too. */
const SHAPES: Readonly<Record<string, Shape>> = {
  "keys of a byte": { keys: 0, valueBytes: 1, depth: 0 },
  "expiring keys": { keys: 0, valueBytes: 20, depth: 0, hasTtl: true },
  "expiring keys, written again and again": {
    ...{ keys: 5000, valueBytes: 1000, depth: 0, hasTtl: true, historyEvents: 100_000 },
  },
  "deep directories": { keys: 0, valueBytes: 10, depth: 8 },
  "hidden keys": { keys: 0, valueBytes: 50, depth: 1, isHidden: true },
  "values that leave much of a page": { keys: 0, valueBytes: 90_000, depth: 0 },
  "values of half a page": { keys: 0, valueBytes: 130_000, depth: 0 },
  "values with pages of their own": { keys: 0, valueBytes: 300_000, depth: 0 },
  "a history of large events": { keys: 1, valueBytes: 400_000, depth: 0 },
};

for (const [name, shape] of Object.entries(SHAPES)) {
  test(`a heap full of ${name} has at most the size that the store estimates`, async () => {
    const told = new SharedArrayBuffer(8);
    const input: FillerInput = { shape, told };
    const worker = new Worker(FILLER, {
      workerData: input,
      resourceLimits: { maxOldGenerationSizeMb: HEAP_MB, maxYoungGenerationSizeMb: 16 },
    });
    const error = await new Promise<NodeJS.ErrnoException>((resolve) => {
      worker.once("error", resolve);
    });
    assert.equal(error.code, "ERR_WORKER_OUT_OF_MEMORY");
    const share = (new Float64Array(told)[0] ?? 0) / (HEAP_MB * 2 ** 20);
    // The quota is 70 % of the heap. Measured: 0.85 to 1.4.
    assert.ok(share > 0.8, `the store reckoned ${share.toFixed(2)} of a heap that was full`);
    assert.ok(share < 1.8, `the store reckoned ${share.toFixed(2)} of a heap that was full`);
  });
}
