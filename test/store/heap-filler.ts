import { workerData } from "node:worker_threads";
import { CommandOp, syncCommand } from "#ringd/store/command.js";
import { Store } from "#ringd/store/store.js";

/** What a store is filled with in `heap.test.ts`. */
export interface Shape {
  /** Keys that are written in turn; 0: each write has a new one. */
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
  /** Where the store's size is told: one float. */
  readonly told: SharedArrayBuffer;
}

const START_MS = Date.UTC(2026, 0, 1);
const { shape, told } = workerData as FillerInput;
const size = new Float64Array(told);
const store = new Store({ historyEventsMax: shape.historyEvents ?? 1000 });

/** As requests have them: strings of their own, cut out of bytes. */
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
  size[0] = store.bytes; // Before the next one, which may be one too many.
}
