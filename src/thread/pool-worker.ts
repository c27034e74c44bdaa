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

/** What a thread of the pool is given with each job. Copied between threads, so data only. */
export interface JobInput {
  readonly topology: Pick<Topology, "jobs" | "outcomes" | "poolBell" | "coreBell">;
  readonly snapDir: string;
  readonly maxSnapshots: number;
}

/** Takes the blocks of one snapshot. */
export interface SnapshotSink {
  /** @param bytes dies on return */
  block(bytes: Uint8Array): void;
  finish(): SnapshotOutcome;
}

export interface PoolPorts {
  readonly jobs: RingReader;
  readonly outcomes: RingWriter;
  readonly beginSnapshot: (head: SnapshotJobHead) => SnapshotSink;
  /** A clock that never jumps, milliseconds. */
  readonly monoMs: () => number;
}

/** The loop of the pool's thread, one turn at a time: takes a job's records, gives its outcome. */
export class PoolLoop {
  readonly #ports: PoolPorts;
  readonly #jobs: Inlet;
  readonly #outcomes: Outlet;
  /** Of the job that is taken in. */
  #snapshot: SnapshotSink | undefined;
  #beginMs = 0;
  #jobsDone = 0;

  constructor(ports: PoolPorts) {
    this.#ports = ports;
    this.#outcomes = new Outlet(ports.outcomes);
    this.#jobs = Inlet.withCursor<JobType>(ports.jobs, (record) => this.#take(record));
  }

  /** Whether a job has ended, and its outcome has left. */
  get isDone(): boolean {
    return this.#jobsDone > 0 && this.#outcomes.queuedBytes === 0;
  }

  hasWork(): boolean {
    return this.#jobs.hasWork() || this.#outcomes.canMove();
  }

  /**
   * One record at a time: what follows the end of a job belongs to the next one, which another
   * thread may take.
   *
   * @returns whether there was one
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
        assert(this.#snapshot !== undefined, "what ends has begun");
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
 * Runs one job, in a thread that piscina chose. The rings keep their positions between threads, so
 * each goes on where the one before it stopped.
 */
export function runJob({ topology, snapDir, maxSnapshots }: JobInput): void {
  const bell = new Bell(topology.poolBell);
  const coreBell = new Bell(topology.coreBell);
  const loop = new PoolLoop({
    jobs: new RingReader(topology.jobs, coreBell),
    outcomes: new RingWriter(topology.outcomes, coreBell),
    beginSnapshot: (head) => new SnapshotJob(snapDir, maxSnapshots, head),
    monoMs: () => performance.now(),
  });
  while (!loop.isDone) {
    if (!loop.turn()) bell.park(() => loop.hasWork(), Number.POSITIVE_INFINITY);
  }
}
