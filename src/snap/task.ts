import { Bell } from "../ring/bell.js";
import { Inlet } from "../ring/fragments.js";
import { RingReader } from "../ring/ring.js";
import { purge, SnapshotWriter } from "./writer.js";

/** Record types of the snapshot ring, as its producer numbers them. */
export interface SnapshotTask {
  readonly directory: string;
  readonly term: number;
  readonly index: number;
  readonly metadata: Uint8Array;
  readonly keep: number;
  readonly ring: SharedArrayBuffer;
  readonly ownBell: SharedArrayBuffer;
  readonly producerBell: SharedArrayBuffer;
  readonly blockType: number;
}

export interface WrittenSnapshot {
  /** Of the oldest snapshot that is kept: the log is needed from there on. */
  readonly oldestIndex: number;
  /** Of each fdatasync of the file. */
  readonly flushSeconds: readonly number[];
}

/**
 * Runs in the pool: writes the blocks of one snapshot to a file as they come, and removes old files.
 *
 */
export function writeSnapshot(task: SnapshotTask): WrittenSnapshot {
  const { directory, term, index, keep } = task;
  const bell = new Bell(task.ownBell);
  const metadata = Buffer.from(task.metadata);
  let failure: unknown;
  let writer: SnapshotWriter | undefined;
  let isDone = false;
  const attempt = (action: () => void) => {
    if (failure !== undefined) return;
    try {
      action();
    } catch (error) {
      failure = error;
    }
  };
  attempt(() => {
    writer = new SnapshotWriter(directory, { term, index, metadata });
  });
  const inlet = new Inlet(
    new RingReader(task.ring, new Bell(task.producerBell)),
    (type, bytes, _view, at, length) => {
      if (type === task.blockType)
        attempt(() => writer?.writeBlock(bytes.subarray(at, at + length)));
      else isDone = true;
    },
  );
  // After a failure the rest is taken all the same, or the producer would wait for ever.
  while (!isDone) {
    if (inlet.drain(16) === 0) bell.park(() => inlet.hasWork(), Number.POSITIVE_INFINITY);
  }
  if (failure !== undefined) {
    writer?.abort();
    throw failure;
  }
  writer?.finish();
  const oldestIndex = purge(directory, keep)?.index ?? 0;
  return { oldestIndex, flushSeconds: writer?.flushSeconds ?? [] };
}
