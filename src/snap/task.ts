import { assert, unreachable } from "../lib/assert.js";
import { SnapshotType } from "../messages/pool.js";
import { Bell } from "../ring/bell.js";
import { Inlet } from "../ring/fragments.js";
import { RingReader } from "../ring/ring.js";
import { DiskError } from "../storage/errors.js";
import { purge, SnapshotWriter } from "./writer.js";

/**
 * Runs in the pool: writes the blocks of one snapshot to a file as they come, then removes old
 * files.
 */
export function writeSnapshot(task: SnapshotTask): SnapshotOutcome {
  const { directory, term, index, keep } = task;
  assert(task.blockType === SnapshotType.block, "both ends number the records alike");
  const bell = new Bell(task.ownBell);
  const metadata = Buffer.from(task.metadata);
  let failure: unknown;
  let writer: SnapshotWriter | undefined;
  let isDone = false;
  const attempt = (action: () => void) => {
    try {
      action();
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === undefined) throw error; // A mistake of ours.
      failure ??= error;
    }
  };
  attempt(() => {
    writer = new SnapshotWriter(directory, { term, index, metadata }, task.version);
  });
  const inlet = new Inlet(
    new RingReader(task.ring, new Bell(task.producerBell)),
    (type, bytes, _view, at, length) => {
      switch (type as SnapshotType) {
        case SnapshotType.block:
          if (failure !== undefined) return;
          attempt(() => writer?.writeBlock(bytes.subarray(at, at + length)));
          return;
        case SnapshotType.end:
          isDone = true;
          return;
        default:
          unreachable(type as never);
      }
    },
  );
  // After a failure the rest is still taken from the ring, or the producer would wait for ever.
  while (!isDone) {
    if (inlet.drain(16) === 0) bell.park(() => inlet.hasWork(), Number.POSITIVE_INFINITY);
  }
  let oldestIndex = 0;
  const refusals: unknown[] = [];
  if (failure === undefined) {
    attempt(() => {
      writer?.finish();
      oldestIndex = purge(directory, keep, (error) => refusals.push(error))?.index ?? 0;
    });
  }
  if (failure === undefined) {
    return { kind: "written", oldestIndex, flushSeconds: writer?.flushSeconds ?? [], refusals };
  }
  attempt(() => writer?.abort());
  return { kind: "failed", error: failure, isForWant: asDiskError(directory, failure).isForWant };
}

/** A snapshot to write. Copied between threads, so data only. */
export interface SnapshotTask {
  readonly directory: string;
  readonly term: number;
  readonly index: number;
  readonly metadata: Uint8Array;
  /** Of the file. */
  readonly version: number;
  readonly keep: number;
  readonly ring: SharedArrayBuffer;
  readonly ownBell: SharedArrayBuffer;
  readonly producerBell: SharedArrayBuffer;
  readonly blockType: number;
}

/** A thrown error is a mistake of ours instead: then blocks may be left in the ring. */
export type SnapshotOutcome =
  | WrittenSnapshot
  /** The disk failed; all blocks were taken from the ring. */
  | {
      readonly kind: "failed";
      readonly error: unknown;
      /**
       * Space was lacking, or something else that may return; otherwise the disk fails or is gone.
       */
      readonly isForWant: boolean;
    };

export interface WrittenSnapshot {
  readonly kind: "written";
  /** Of the oldest snapshot kept: the log is needed from there on. */
  readonly oldestIndex: number;
  /** Of each fdatasync of the file. */
  readonly flushSeconds: readonly number[];
  /** Why old snapshots could not be removed. */
  readonly refusals: readonly unknown[];
}

function asDiskError(directory: string, error: unknown): DiskError {
  if (error instanceof DiskError) return error;
  return new DiskError(
    "save",
    directory,
    (error as NodeJS.ErrnoException).code ?? "EUNKNOWN",
    error,
  );
}
