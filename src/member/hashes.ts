import { assert } from "../lib/assert.js";
import { OpenTable } from "../lib/open-table.js";
import { HashJobType, writeHashJob } from "../messages/hashes.js";
import type { MetricCells } from "../metrics/cells.js";
import { cellOf } from "../metrics/families.js";
import type { Outlet } from "../ring/fragments.js";

/**
 * Passwords that wait for the pool, at some tens of milliseconds each; more are rejected, so that
 * who guesses passwords takes no more than one thread.
 */
export const HASH_JOBS_MAX = 64;
/** Room beyond that for new passwords, which root can set even while somebody guesses. */
const NEW_PASSWORDS_MAX = 16;

const HASHED = cellOf("authHashes", "hash");
const COMPARED = cellOf("authHashes", "compare");

type Done =
  | { readonly type: "hash"; readonly done: (hash: string) => void }
  | { readonly type: "compare"; readonly done: (isEqual: boolean) => void };

/** Hashes and comparisons of passwords, which a thread of the pool makes in order. */
export class Hashes {
  readonly #jobs: Outlet;
  readonly #metrics: MetricCells;
  readonly #open = new OpenTable<Done>();

  constructor(jobs: Outlet, metrics: MetricCells) {
    this.#jobs = jobs;
    this.#metrics = metrics;
  }

  /** @returns false if too many wait; then `done` is not called */
  hash(password: string, done: (hash: string) => void): boolean {
    assert(password !== "", "no user is given an empty password");
    if (this.#open.size >= HASH_JOBS_MAX + NEW_PASSWORDS_MAX) return false;
    const job = this.#open.add({ type: "hash", done });
    writeHashJob(this.#jobs, HashJobType.hash, { job, hash: "", password });
    this.#metrics.add(HASHED, 1);
    return true;
  }

  /** @returns false if too many wait; then `done` is not called */
  compare(hash: string, password: string, done: (isEqual: boolean) => void): boolean {
    if (this.#open.size >= HASH_JOBS_MAX) return false;
    const job = this.#open.add({ type: "compare", done });
    writeHashJob(this.#jobs, HashJobType.compare, { job, hash, password });
    this.#metrics.add(COMPARED, 1);
    return true;
  }

  /** Outcomes of the pool. */

  hashed(job: number, hash: string): void {
    const open = this.#open.take(job);
    assert(open?.type === "hash", "a job has one outcome, and of its own type");
    assert(hash !== "", "a password that was hashed has a hash");
    open.done(hash);
  }

  compared(job: number, isEqual: boolean): void {
    const open = this.#open.take(job);
    assert(open?.type === "compare", "a job has one outcome, and of its own type");
    open.done(isEqual);
  }

  hasWork(): boolean {
    return this.#jobs.canMove();
  }

  publish(): void {
    this.#jobs.publish();
  }
}
