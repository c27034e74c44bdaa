import { assert } from "../lib/assert.js";
import type { Entry } from "./entry.js";

const NO_ENTRIES: readonly Entry[] = [];

/** A place in the log: an entry's index and term name it and everything before it (paper, 5.3). */
export interface Position {
  readonly index: number;
  readonly term: number;
}

/**
 * The log in memory, from just after `base` to the last entry, and how far each party has got.
 *
 *   base <= applied <= handedOut <= commit <= last
 *   base <= durable (unless a snapshot is on its way to the disk) <= handedToDisk <= last
 *
 * `commit` may be ahead of `durable`: a quorum of other disks is enough.
 */
export class RaftLog {
  /** Everything up to here is only in the snapshot. */
  #base: Position;
  /** `#entries[i].index === #base.index + 1 + i` */
  #entries: Entry[];
  #commit: number;
  #handedOut: number;
  #applied: number;
  #handedToDisk: number;
  #durable: number;

  /**
   * @param base the snapshot the log continues
   * @param entries all durable, the first at `base.index` + 1; taken over, not copied
   * @param commit at least `base.index`; held to the last entry
   * @param applied what the restored store contains
   */
  constructor(base: Position, entries: Entry[], commit: number, applied: number) {
    this.#base = base;
    this.#entries = entries;
    const last = base.index + entries.length;
    this.#commit = Math.min(Math.max(commit, base.index), last);
    assert(applied >= base.index, "the restored store contains the snapshot");
    assert(applied <= this.#commit, "the restored store contains only committed entries");
    this.#handedOut = applied;
    this.#applied = applied;
    this.#handedToDisk = last;
    this.#durable = last;
    for (let i = 0, term = base.term; i < entries.length; i++) {
      const entry = entries[i] as Entry;
      assert(entry.index === base.index + 1 + i, "restored entries are consecutive");
      assert(entry.term >= term, "terms never decrease along the log");
      term = entry.term;
    }
  }

  get base(): Position {
    return this.#base;
  }
  get lastIndex(): number {
    return this.#base.index + this.#entries.length;
  }
  get lastTerm(): number {
    return this.#entries.at(-1)?.term ?? this.#base.term;
  }
  get commit(): number {
    return this.#commit;
  }
  /** The last entry that went to the store through `takeCommitted`. */
  get handedOut(): number {
    return this.#handedOut;
  }
  get applied(): number {
    return this.#applied;
  }
  /** The last entry that went to the disk through `takeUnwritten`. */
  get handedToDisk(): number {
    return this.#handedToDisk;
  }
  /** Our own disk holds the log up to here. */
  get durable(): number {
    return this.#durable;
  }

  /** Undefined for what is compacted away or not there yet. */
  term(index: number): number | undefined {
    if (index === this.#base.index) return this.#base.term;
    return this.#entries[index - this.#base.index - 1]?.term;
  }

  entry(index: number): Entry {
    const entry = this.#entries[index - this.#base.index - 1];
    assert(entry !== undefined, "the entry is in memory");
    return entry;
  }

  has(position: Position): boolean {
    return this.term(position.index) === position.term;
  }

  /** Whether a log that ends at `other` lacks nothing that ours may have committed (paper, 5.4.1). */
  isUpToDate(other: Position): boolean {
    if (other.term !== this.lastTerm) return other.term > this.lastTerm;
    return other.index >= this.lastIndex;
  }

  /**
   * The last index up to `index` whose term is at most `term`: where a log that has `term` at `index`
   * may still agree with ours. Terms never decrease, so this is a binary search.
   *
   * @returns at least `base.index`, below which nothing is known
   */
  lastWithTermUpTo(term: number, index: number): number {
    let low = this.#base.index;
    let high = Math.max(Math.min(index, this.lastIndex), low);
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if ((this.term(middle) as number) <= term) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /**
   * Entries from `from` on, at least one if there is any, then as many as fit.
   *
   * @param to last index wanted
   */
  slice(from: number, to: number, countMax: number, bytesMax: number): readonly Entry[] {
    if (from > to) return NO_ENTRIES;
    const start = from - this.#base.index - 1;
    const end = Math.min(to - this.#base.index, start + countMax);
    assert(start >= 0 && end <= this.#entries.length, "the slice is in memory");
    let bytes = 0;
    for (let i = start; i < end; i++) {
      bytes += (this.#entries[i] as Entry).data.length;
      if (bytes > bytesMax && i > start) return this.#entries.slice(start, i);
    }
    return this.#entries.slice(start, end);
  }

  /** The leader's way: at the end, one by one. */
  push(entry: Entry): void {
    assert(entry.index === this.lastIndex + 1, "entries are appended without a gap");
    assert(entry.term >= this.lastTerm, "terms never decrease along the log");
    this.#entries.push(entry);
  }

  /**
   * The follower's way: keeps what agrees, replaces the first entry that differs and all behind it.
   *
   * @param entries follow a position that we have
   */
  merge(entries: readonly Entry[]): void {
    let i = 0;
    while (i < entries.length && this.has(entries[i] as Entry)) i++;
    if (i === entries.length) return;
    const first = entries[i] as Entry;
    if (first.index <= this.lastIndex) this.#truncate(first.index);
    for (; i < entries.length; i++) this.push(entries[i] as Entry);
  }

  /** Forgets `index` and everything behind it. */
  #truncate(index: number): void {
    assert(index > this.#commit, "committed entries are never replaced");
    this.#entries.length = index - this.#base.index - 1;
    this.#handedToDisk = Math.min(this.#handedToDisk, index - 1);
    this.#durable = Math.min(this.#durable, index - 1);
  }

  /** @returns whether the commit index moved */
  commitTo(index: number): boolean {
    if (index <= this.#commit) return false;
    assert(index <= this.lastIndex, "only entries that exist are committed");
    this.#commit = index;
    return true;
  }

  /** The next committed entries for the store. */
  takeCommitted(countMax: number, bytesMax: number): readonly Entry[] {
    const taken = this.slice(this.#handedOut + 1, this.#commit, countMax, bytesMax);
    this.#handedOut += taken.length;
    return taken;
  }

  /** The store contains everything up to `index`. */
  appliedTo(index: number): void {
    assert(index >= this.#applied, "the store never goes back");
    assert(index <= this.#handedOut, "only entries that were handed out are applied");
    this.#applied = index;
  }

  /** Everything that the disk has not been given yet. */
  takeUnwritten(): readonly Entry[] {
    if (this.#handedToDisk === this.lastIndex) return NO_ENTRIES;
    const taken = this.#entries.slice(this.#handedToDisk - this.#base.index);
    this.#handedToDisk = this.lastIndex;
    return taken;
  }

  /**
   * A finished disk job ended at `position`. If that entry has been replaced since, the job says
   * nothing about the log of today; the job that wrote the replacement will.
   */
  durableTo(position: Position): void {
    if (position.index > this.#durable && this.has(position)) this.#durable = position.index;
  }

  /** Whether (applied, commit] holds a membership change that is not in force yet. */
  hasUnappliedConfChange(): boolean {
    for (let index = this.#applied + 1; index <= this.#commit; index++) {
      if (this.entry(index).type !== 0) return true;
    }
    return false;
  }

  /** Drops entries up to `index` from memory. */
  compactTo(index: number): void {
    if (index <= this.#base.index) return;
    assert(index <= this.#applied, "only applied entries are compacted");
    assert(index <= this.#durable, "only durable entries are compacted");
    const term = this.term(index);
    assert(term !== undefined, "the new base is in the log");
    this.#entries = this.#entries.slice(index - this.#base.index);
    this.#base = { index, term };
  }

  /** A snapshot from the leader takes the place of everything. */
  restoreTo(base: Position): void {
    assert(base.index > this.#commit, "a snapshot only takes the log forward");
    this.#durable = Math.min(this.#durable, this.#commit);
    this.#base = base;
    this.#entries = [];
    this.#commit = base.index;
    this.#handedOut = base.index;
    this.#applied = base.index;
    this.#handedToDisk = base.index;
  }

  checkInvariants(): void {
    const { index: base } = this.#base;
    assert(base <= this.#applied, "the store contains what is compacted");
    assert(this.#applied <= this.#handedOut, "applied entries were handed out");
    assert(this.#handedOut <= this.#commit, "handed out entries are committed");
    assert(this.#commit <= this.lastIndex, "committed entries exist");
    assert(this.#durable <= this.#handedToDisk, "durable entries were handed to the disk");
    assert(this.#handedToDisk <= this.lastIndex, "entries handed to the disk exist");
    assert(base <= this.#handedToDisk, "compacted entries were handed to the disk");
  }
}
