import { assert } from "../lib/assert.js";
import type { Entry, HardState, SnapshotMeta } from "./entry.js";
import type { Position } from "./log.js";
import type { Message } from "./message.js";

/**
 * Work for the disk, carried out in order of `job`. `Raft.durable(job)` is called after this job
 * and all before it are durable. A crash may keep any prefix of the unfinished jobs, and of the
 * last kept one any prefix of snapshot, entries, hardState, in this order: if the hard state came
 * first, its commit index could cover entries that the job was to replace.
 */
export interface AppendJob {
  /** 1, 2, 3, ... since the member started. */
  readonly job: number;
  /** If present, the log restarts after it, and all earlier entries are void. */
  readonly snapshot: SnapshotMeta | undefined;
  /** If the first one's index was written before, that entry and all after it are void. */
  readonly entries: readonly Entry[];
  /** If present, replaces the previous one. */
  readonly hardState: HardState | undefined;
}

interface OpenJob {
  readonly job: number;
  readonly end: Position | undefined;
}

interface Held {
  readonly job: number;
  readonly message: Message;
}

/**
 * Holds messages back until they are safe to send: a message that promises something (a vote, an
 * append acknowledgement, the vote for oneself) waits until the job that contains the promise is
 * durable.
 */
export class DiskJobs {
  #issued = 0;
  #durable = 0;
  readonly #open: OpenJob[] = [];
  readonly #held: Held[] = [];

  /** Number of the last job handed to the shell. */
  get issued(): number {
    return this.#issued;
  }
  get durable(): number {
    return this.#durable;
  }

  /** @param end last position of the log after this job, if it changes the log */
  issue(end: Position | undefined): number {
    this.#issued++;
    this.#open.push({ job: this.#issued, end });
    this.assertInvariants();
    return this.#issued;
  }

  isDurable(job: number): boolean {
    return job <= this.#durable;
  }

  hold(job: number, message: Message): void {
    assert(job > this.#durable, "what is durable holds nothing back");
    assert(job <= this.#issued + 1, "what is held waits for the next job at most");
    assert(job >= (this.#held.at(-1)?.job ?? 0), "messages are held in the order of their jobs");
    this.#held.push({ job, message });
  }

  /**
   * Jobs up to `job` are durable.
   *
   * @returns the log's last position after each of them, and the messages they held back, both in
   *   order
   */
  finish(job: number): {
    ends: readonly Position[];
    released: readonly Message[];
  } {
    assert(job <= this.#issued, "only issued jobs become durable");
    const ends: Position[] = [];
    const released: Message[] = [];
    if (job <= this.#durable) return { ends, released };
    this.#durable = job;
    let finished = 0;
    while (finished < this.#open.length && (this.#open[finished] as OpenJob).job <= job) {
      const { end } = this.#open[finished++] as OpenJob;
      if (end !== undefined) ends.push(end);
    }
    this.#open.splice(0, finished);
    let free = 0;
    while (free < this.#held.length && (this.#held[free] as Held).job <= job) {
      released.push((this.#held[free++] as Held).message);
    }
    this.#held.splice(0, free);
    this.assertInvariants();
    return { ends, released };
  }

  assertInvariants(): void {
    const open = this.#issued - this.#durable;
    assert(open >= 0, "only issued jobs are durable");
    assert(this.#open.length === open, "each job issued and not durable is open");
    const first = this.#held[0];
    assert(first === undefined || first.job > this.#durable, "nothing waits for a durable job");
  }
}
