import { assert, unreachable } from "../lib/assert.js";
import {
  JobType,
  readSnapshotJob,
  type SnapshotJobHead,
  writeFailed,
  writeSaved,
} from "../messages/pool.js";
import type { Topology } from "../messages/topology.js";
import { Bell } from "../ring/bell.js";
import { Inlet, Outlet } from "../ring/fragments.js";
import type { RecordCursor } from "../ring/record-cursor.js";
import { RingReader, RingWriter } from "../ring/ring.js";
import { SnapshotJob, type SnapshotOutcome } from "../snap/job.js";
import { type SavedFilesConfig, savedFiles } from "../snap/saved-files.js";

/** Input of each job; plain data, as it is cloned between threads. */
export interface JobInput {
  readonly topology: Pick<Topology, "jobs" | "outcomes" | "poolBell" | "coreBell">;
  readonly snapDir: string;
  readonly maxSnapshots: number;
}

/** Input of a job of --snapshot-interval, with rings of its own in their places. */
export interface SaveInput extends Pick<JobInput, "topology"> {
  readonly files: SavedFilesConfig;
}

/** Receives the blocks of one snapshot. */
export interface SnapshotSink {
  /** @param bytes valid until return */
  block(bytes: Uint8Array): void;
  finish(): SnapshotOutcome;
}

export interface PoolPorts {
  readonly jobs: RingReader;
  readonly outcomes: RingWriter;
  readonly beginSnapshot: (head: SnapshotJobHead) => SnapshotSink;
  /** Monotonic clock, milliseconds. */
  readonly monoMs: () => number;
}

/** The loop of the pool's thread, one turn at a time: reads a job's records, writes its outcome. */
export class PoolLoop {
  readonly #ports: PoolPorts;
  readonly #jobs: Inlet;
  readonly #outcomes: Outlet;
  /** Of the current job. */
  #snapshot: SnapshotSink | undefined;
  #beginMs = 0;
  #jobsDone = 0;

  constructor(ports: PoolPorts) {
    this.#ports = ports;
    this.#outcomes = new Outlet(ports.outcomes);
    this.#jobs = Inlet.withCursor<JobType>(ports.jobs, (record) => this.#take(record));
  }

  /** Whether a job has ended and its outcome is published. */
  get isDone(): boolean {
    return this.#jobsDone > 0 && this.#outcomes.queuedBytes === 0;
  }

  hasWork(): boolean {
    return this.#jobs.hasWork() || this.#outcomes.canMove();
  }

  /**
   * Reads one record only: those after the job's end belong to the next job, perhaps on another
   * thread.
   *
   * @returns whether there was a record
   */
  turn(): boolean {
    const taken = this.#jobs.drain(1);
    this.#outcomes.publish();
    return taken > 0;
  }

  #take(record: RecordCursor<JobType>): void {
    switch (record.type) {
      case JobType.snapshot:
        assert(this.#snapshot === undefined, "a job ends before the next one begins");
        assert(this.#outcomes.queuedBytes === 0, "the outcome of a job comes before the next one");
        this.#beginMs = this.#ports.monoMs();
        this.#snapshot = this.#ports.beginSnapshot(readSnapshotJob(record));
        return;
      case JobType.block:
        assert(this.#snapshot !== undefined, "a block belongs to a snapshot");
        this.#snapshot.block(record.bytes(0));
        return;
      case JobType.end:
        assert(this.#snapshot !== undefined, "an end belongs to a snapshot");
        this.#end(this.#snapshot.finish());
        return;
      default:
        unreachable(record.type);
    }
  }

  #end(outcome: SnapshotOutcome): void {
    this.#snapshot = undefined;
    this.#jobsDone++;
    switch (outcome.kind) {
      case "saved": {
        const seconds = (this.#ports.monoMs() - this.#beginMs) / 1000;
        writeSaved(this.#outcomes, { ...outcome, seconds });
        return;
      }
      case "failed":
        writeFailed(this.#outcomes, outcome);
        return;
      default:
        unreachable(outcome);
    }
  }
}

/**
 * Runs one job, on a thread that piscina chose. Positions live in the rings' shared memory, so each
 * job resumes where the last one stopped.
 */
export function runJob({ topology, snapDir, maxSnapshots }: JobInput): void {
  runOne(topology, (head) => new SnapshotJob(snapDir, maxSnapshots, head));
}

/** The same for a saved snapshot. */
export function runSaveJob({ topology, files }: SaveInput): void {
  runOne(topology, (head) => {
    return new SnapshotJob(files.dir, files.keep, head, savedFiles(files, Date.now()));
  });
}

function runOne(topology: JobInput["topology"], beginSnapshot: PoolPorts["beginSnapshot"]): void {
  const bell = new Bell(topology.poolBell);
  const coreBell = new Bell(topology.coreBell);
  const loop = new PoolLoop({
    jobs: new RingReader(topology.jobs, coreBell),
    outcomes: new RingWriter(topology.outcomes, coreBell),
    beginSnapshot,
    monoMs: () => performance.now(),
  });
  while (!loop.isDone) {
    if (!loop.turn()) bell.park(() => loop.hasWork(), Number.POSITIVE_INFINITY);
  }
}
