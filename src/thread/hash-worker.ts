import { timingSafeEqual } from "node:crypto";
import { hashSync } from "bcryptjs";
import { unreachable } from "../lib/assert.js";
import { HashJobType, readHashJob, writeCompared, writeHashed } from "../messages/hashes.js";
import type { Topology } from "../messages/topology.js";
import { Bell } from "../ring/bell.js";
import { Inlet, Outlet } from "../ring/fragments.js";
import type { RecordCursor } from "../ring/record-cursor.js";
import { RingReader, RingWriter } from "../ring/ring.js";

/** Input of each run; plain data, as it is cloned between threads. */
export interface HashInput {
  readonly topology: Pick<Topology, "hashJobs" | "hashOutcomes" | "hashBell" | "coreBell">;
  readonly bcryptCost: number;
}

/** Hashes and compares passwords, one job per turn: each takes a core some tens of milliseconds. */
export class HashLoop {
  readonly #jobs: Inlet;
  readonly #outcomes: Outlet;
  readonly #cost: number;

  constructor(jobs: RingReader, outcomes: RingWriter, cost: number) {
    this.#cost = cost;
    this.#outcomes = new Outlet(outcomes);
    this.#jobs = Inlet.withCursor<HashJobType>(jobs, (record) => this.#take(record));
  }

  /** All jobs are done, and their outcomes published. */
  get isDone(): boolean {
    if (this.#jobs.hasWork() || this.#jobs.isWithinMessage) return false;
    return this.#outcomes.queuedBytes === 0;
  }

  hasWork(): boolean {
    return this.#jobs.hasWork() || this.#outcomes.canMove();
  }

  /** @returns whether there was a job */
  turn(): boolean {
    const taken = this.#jobs.drain(1);
    this.#outcomes.publish();
    return taken > 0;
  }

  #take(record: RecordCursor<HashJobType>): void {
    const { type } = record;
    const { job, hash, password } = readHashJob(record);
    switch (type) {
      case HashJobType.hash:
        writeHashed(this.#outcomes, job, hashSync(toText(password) ?? "", this.#cost));
        return;
      case HashJobType.compare:
        writeCompared(this.#outcomes, job, isPasswordOf(password, hash));
        return;
      default:
        unreachable(type);
    }
  }
}

/** Takes the same time for every password. */
function isPasswordOf(password: string, hash: string): boolean {
  // What is not UTF-8 is nobody's password, as passwords are set in JSON.
  const text = toText(password);
  let made: Buffer;
  try {
    made = Buffer.from(hashSync(text ?? "", hash));
  } catch {
    return false; // As in Go, what is no hash matches nothing.
  }
  const wanted = Buffer.from(hash);
  return made.length === wanted.length && timingSafeEqual(made, wanted) && text !== undefined;
}

/** @returns undefined for bytes that are not UTF-8 */
function toText(latin1: string): string | undefined {
  const text = Buffer.from(latin1, "latin1").toString("utf8");
  return Buffer.from(text, "utf8").toString("latin1") === latin1 ? text : undefined;
}

/** Runs until there is no job left, on a thread that piscina chose. */
export function runHashes({ topology, bcryptCost }: HashInput): void {
  const bell = new Bell(topology.hashBell);
  const coreBell = new Bell(topology.coreBell);
  const loop = new HashLoop(
    new RingReader(topology.hashJobs, coreBell),
    new RingWriter(topology.hashOutcomes, coreBell),
    bcryptCost,
  );
  while (!loop.isDone) {
    if (!loop.turn()) bell.park(() => loop.hasWork(), Number.POSITIVE_INFINITY);
  }
}
