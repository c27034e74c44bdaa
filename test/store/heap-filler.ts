import { workerData } from "node:worker_threads";
import { CommandOp, syncCommand } from "#ringd/store/command.js";
import { Store } from "#ringd/store/store.js";

/** Shape of a store's content in `heap.test.ts`. */
export interface Shape {
  /** Number of keys, written in turn; 0: a new one for each write. */
  readonly keys: number;
  readonly valueBytes: number;
  /** Directories above each key. */
  readonly depth: number;
  readonly isHidden?: boolean;
  readonly hasTtl?: boolean;
  readonly historyEvents?: number;
}

export interface FillerInput {
  readonly shape: Shape;
  /** Receives the store's size: one float. */
  readonly told: SharedArrayBuffer;
}

const START_MS = Date.UTC(2026, 0, 1);
const { shape, told } = workerData as FillerInput;
const size = new Float64Array(told);
const store = new Store({ historyEventsMax: shape.historyEvents ?? 1000 });

/** Separate strings sliced from bytes, as in requests. */
function text(length: number, fill: number): string {
  return Buffer.alloc(length, 97 + (fill % 26)).toString("latin1");
}

for (let n = 0; ; n++) {
  const key = shape.keys === 0 ? n : n % shape.keys;
  const above = Array.from({ length: shape.depth }, (_, i) => `/d${i}-${key >> (4 * i)}`).join("");
  const path = Buffer.from(`/1${above}/${shape.isHidden ? "_" : ""}key${key}`).toString("latin1");
  store.apply({
    ...syncCommand(START_MS + n),
    op: CommandOp.set,
    path,
    value: text(shape.valueBytes, n),
    expirationMs: shape.hasTtl ? START_MS + n + 1e9 : 0,
  });
  size[0] = store.bytes; // Before the next write, which may exceed the heap.
}
