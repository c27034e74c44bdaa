import type { AppendJob } from "#ringd/raft/disk-jobs.js";
import type { Entry, HardState, SnapshotMeta } from "#ringd/raft/entry.js";
import type { Restored } from "#ringd/raft/options.js";
import type { Prng } from "../support/prng.js";

/**
 * A disk that finishes jobs when told to, and at a crash keeps any prefix of the unfinished ones.
 */
export class SimDisk {
  hardState: HardState;
  snapshot: SnapshotMeta;
  /** After `#base`, which is at most `snapshot`. */
  entries: Entry[];
  #base: number;
  #jobs: AppendJob[] = [];

  constructor(first: Restored) {
    this.hardState = first.hardState;
    this.snapshot = first.snapshot;
    this.#base = first.snapshot.index;
    this.entries = first.entries.slice();
  }

  get backlog(): number {
    return this.#jobs.length;
  }

  get lastIndex(): number {
    return Math.max(this.snapshot.index, this.#base + this.entries.length);
  }

  /** Entries from here on may be replaced by unfinished jobs. */
  get unfinishedFrom(): number {
    let from = Number.POSITIVE_INFINITY;
    for (const { snapshot, entries } of this.#jobs) {
      if (snapshot !== undefined) return 0;
      from = Math.min(from, entries[0]?.index ?? from);
    }
    return from;
  }

  get hasUnfinishedHardState(): boolean {
    return this.#jobs.some(({ hardState }) => hardState !== undefined);
  }

  add(job: AppendJob): void {
    this.#jobs.push(job);
  }

  /** @returns the number of the last finished job */
  finish(count: number): number {
    let last = 0;
    for (const job of this.#jobs.splice(0, count)) {
      this.#write(job, job.entries.length, true);
      last = job.job;
    }
    return last;
  }

  crash(prng: Prng, torn: boolean): void {
    if (torn && this.#jobs.length > 0) {
      this.finish(prng.below(this.#jobs.length + 1));
      const next = this.#jobs[0];
      if (next !== undefined) this.#write(next, prng.below(next.entries.length + 1), false);
    }
    this.lose();
  }

  /** Unfinished jobs leave no trace. */
  lose(): void {
    this.#jobs = [];
  }

  #write(job: AppendJob, entryCount: number, whole: boolean): void {
    if (job.snapshot !== undefined) {
      this.snapshot = job.snapshot;
      this.#base = job.snapshot.index;
      this.entries = [];
    }
    for (const entry of job.entries.slice(0, entryCount)) {
      this.entries.length = entry.index - this.#base - 1;
      this.entries.push(entry);
    }
    if (whole && job.hardState !== undefined) this.hardState = job.hardState;
  }

  /** A snapshot of our own; its state may be ahead of the log here. */
  saveSnapshot(meta: SnapshotMeta): void {
    this.snapshot = meta;
  }

  holds(index: number, term: number): boolean {
    if (index <= this.snapshot.index) return true;
    return this.entries[index - this.#base - 1]?.term === term;
  }

  /** As at a start: a log that does not reach the snapshot, or contradicts it, is dropped. */
  restored(): Restored {
    const { index, term } = this.snapshot;
    if (index > this.#base && this.entries[index - this.#base - 1]?.term !== term) {
      this.#base = index;
      this.entries = [];
    }
    const { hardState, snapshot, entries } = this;
    return { hardState, snapshot, entries, applied: snapshot.index };
  }
}
