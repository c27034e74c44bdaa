import { assert } from "../lib/assert.js";
import type { Entry } from "./entry.js";
import type { PackedEntries } from "./packed-entries.js";

const NO_ENTRIES: readonly Entry[] = [];

/** An entry's index and term, which identify it and all entries before it (paper, 5.3). */
export interface Position {
  readonly index: number;
  readonly term: number;
}

/**
 * The in-memory log, from just after `base` to the last entry, and the progress of store and disk.
 *
 *   base <= applied <= handedOut <= commit <= last
 *   base <= durable (unless a snapshot is on its way to the disk) <= handedToDisk <= last
 *
 * `commit` may be ahead of `durable`: a quorum of other disks is enough.
 */
export class RaftLog {
  /** Last compacted position: entries up to it are only in the snapshot. */
  #base: Position;
  /** Committed and durable entries, which cannot change any more; those before `#recent`. */
  readonly #packed: PackedEntries;
  /** The entries after `#packed`, consecutive up to the last. */
  #recent: Entry[];
  #commit: number;
  #handedOut: number;
  #applied: number;
  #handedToDisk: number;
  #durable: number;

  /**
   * @param base the snapshot the log continues
   * @param packed committed entries, from `base.index` + 1 on; taken over, like `entries`
   * @param entries those that follow; all of them are durable
   * @param commit clamped to `base.index` .. the last index
   * @param applied last index that the restored store contains
   */
  constructor(
    base: Position,
    packed: PackedEntries,
    entries: Entry[],
    commit: number,
    applied: number,
  ) {
    assert(packed.first === base.index + 1, "packed entries follow the base");
    this.#base = base;
    this.#packed = packed;
    this.#recent = entries;
    const last = packed.end - 1 + entries.length;
    this.#commit = Math.min(Math.max(commit, base.index), last);
    assert(packed.end - 1 <= this.#commit, "packed entries are committed");
    assert(applied >= base.index, "the restored store contains the snapshot");
    assert(applied <= this.#commit, "the restored store contains only committed entries");
    this.#handedOut = applied;
    this.#applied = applied;
    this.#handedToDisk = last;
    this.#durable = last;
    const before = packed.end - 1;
    let term = before > base.index ? packed.term(before) : base.term;
    for (let i = 0; i < entries.length; i++) {
      const entry = entries[i] as Entry;
      assert(entry.index === before + 1 + i, "restored entries are consecutive");
      assert(entry.term >= term, "terms never decrease along the log");
      term = entry.term;
    }
    this.#pack();
  }

  get base(): Position {
    return this.#base;
  }
  get lastIndex(): number {
    return this.#packed.end - 1 + this.#recent.length;
  }
  get lastTerm(): number {
    return this.term(this.lastIndex) as number;
  }
  get commit(): number {
    return this.#commit;
  }
  /** The last index handed to the store by `takeCommitted`. */
  get handedOut(): number {
    return this.#handedOut;
  }
  get applied(): number {
    return this.#applied;
  }
  /** The last index handed to the disk by `takeUnwritten`. */
  get handedToDisk(): number {
    return this.#handedToDisk;
  }
  /** Our own disk holds the log up to this index. */
  get durable(): number {
    return this.#durable;
  }

  /** Undefined if the entry is compacted or does not exist yet. */
  term(index: number): number | undefined {
    if (index === this.#base.index) return this.#base.term;
    if (index < this.#base.index) return undefined;
    const { end } = this.#packed;
    return index < end ? this.#packed.term(index) : this.#recent[index - end]?.term;
  }

  entry(index: number): Entry {
    const { end } = this.#packed;
    const isPacked = index > this.#base.index && index < end;
    const entry = isPacked ? this.#packed.entry(index) : this.#recent[index - end];
    assert(entry !== undefined, "the entry is in memory");
    return entry;
  }

  has(position: Position): boolean {
    return this.term(position.index) === position.term;
  }

  /** Whether a log ending at `other` is at least as up to date as ours (paper, 5.4.1). */
  isUpToDate(other: Position): boolean {
    if (other.term !== this.lastTerm) return other.term > this.lastTerm;
    return other.index >= this.lastIndex;
  }

  /**
   * The last index up to `index` whose term is at most `term`: the last place where a log with
   * `term` at `index` may agree with ours. Binary search, as terms never decrease.
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
   * Entries from `from` on: at least one if there is any, then as many as fit the limits.
   *
   * @param to last index wanted
   */
  slice(from: number, to: number, countMax: number, bytesMax: number): readonly Entry[] {
    assert(countMax > 0, "a slice may hold an entry");
    const end = Math.min(to, from + countMax - 1) + 1;
    if (from >= end) return NO_ENTRIES;
    assert(from > this.#base.index && end <= this.lastIndex + 1, "the slice is in memory");
    const first = this.#packed.end;
    let bytes = 0;
    for (let index = from; index < end; index++) {
      bytes += index < first ? this.#packed.bytes(index) : this.#recentAt(index).data.length;
      if (bytes > bytesMax && index > from) return this.#entries(from, index);
    }
    return this.#entries(from, end);
  }

  /** @param end not included */
  #entries(from: number, end: number): readonly Entry[] {
    const first = this.#packed.end;
    const recent = this.#recent.slice(Math.max(from - first, 0), Math.max(end - first, 0));
    if (from >= first) return recent;
    const packed = Math.min(end, first) - from;
    return [...Array.from({ length: packed }, (_, i) => this.#packed.entry(from + i)), ...recent];
  }

  #recentAt(index: number): Entry {
    return this.#recent[index - this.#packed.end] as Entry;
  }

  /** Leader: appends one entry. */
  push(entry: Entry): void {
    assert(entry.index === this.lastIndex + 1, "entries are appended without a gap");
    assert(entry.term >= this.lastTerm, "terms never decrease along the log");
    this.#recent.push(entry);
  }

  /**
   * Follower: keeps entries that agree; replaces the first that differs and all after it.
   *
   * @param entries consecutive, after a position that is in the log
   */
  merge(entries: readonly Entry[]): void {
    const before = entries[0];
    assert(before === undefined || before.index > this.#base.index, "compacted entries stay");
    let i = 0;
    while (i < entries.length && this.has(entries[i] as Entry)) i++;
    if (i === entries.length) return;
    const first = entries[i] as Entry;
    if (first.index <= this.lastIndex) this.#truncate(first.index);
    for (; i < entries.length; i++) this.push(entries[i] as Entry);
  }

  /** Removes `index` and everything after it. */
  #truncate(index: number): void {
    assert(index > this.#commit, "committed entries are never replaced");
    assert(index >= this.#packed.end, "packed entries are committed");
    this.#recent.length = index - this.#packed.end;
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
    assert(this.#handedOut <= this.#commit, "the store gets committed entries only");
    return taken;
  }

  /** The store contains everything up to `index`. */
  appliedTo(index: number): void {
    assert(index >= this.#applied, "the store never goes back");
    assert(index <= this.#handedOut, "only entries that were handed out are applied");
    this.#applied = index;
    this.#pack();
  }

  /** Takes the entries not handed to the disk yet. */
  takeUnwritten(): readonly Entry[] {
    if (this.#handedToDisk === this.lastIndex) return NO_ENTRIES;
    const taken = this.#entries(this.#handedToDisk + 1, this.lastIndex + 1);
    this.#handedToDisk += taken.length;
    assert(this.#handedToDisk === this.lastIndex, "the disk gets every entry");
    return taken;
  }

  /**
   * A finished disk job ended at `position`. If that entry has been replaced since, the job proves
   * nothing about the current log; the job of the replacement will.
   */
  durableTo(position: Position): void {
    if (position.index <= this.#durable || !this.has(position)) return;
    // It came back after it had been replaced, and is not handed to the disk again yet.
    if (position.index > this.#handedToDisk) return;
    this.#durable = position.index;
    this.#pack();
  }

  #pack(): void {
    const settled = Math.min(this.#applied, this.#durable);
    const { packEntries } = this.#packed;
    while (settled + 1 - this.#packed.end >= packEntries) {
      this.#packed.push(this.#recent.splice(0, packEntries));
    }
  }

  /**
   * Whether a membership change is not applied yet.
   *
   * @param last the last entry looked at: without it, those that are committed
   */
  hasUnappliedConfChange(last = this.#commit): boolean {
    for (let index = this.#applied + 1; index <= last; index++) {
      if (this.entry(index).type !== 0) return true;
    }
    return false;
  }

  /** Drops entries up to `index` from memory; `index` becomes the base. */
  compactTo(index: number): void {
    if (index <= this.#base.index) return;
    assert(index <= this.#applied, "only applied entries are compacted");
    assert(index <= this.#durable, "only durable entries are compacted");
    const term = this.term(index);
    assert(term !== undefined, "the new base is in the log");
    if (index < this.#packed.end) this.#packed.dropTo(index);
    else {
      this.#recent = this.#recent.slice(index + 1 - this.#packed.end);
      this.#packed.startAt(index + 1);
    }
    this.#base = { index, term };
    this.assertInvariants();
  }

  /** A snapshot from the leader replaces the whole log. */
  restoreTo(base: Position): void {
    assert(base.index > this.#commit, "a snapshot only moves the log forward");
    // Uncommitted entries may differ from those that the snapshot covers.
    this.#durable = Math.min(this.#durable, this.#commit);
    this.#base = base;
    this.#packed.startAt(base.index + 1);
    this.#recent = [];
    this.#commit = base.index;
    this.#handedOut = base.index;
    this.#applied = base.index;
    this.#handedToDisk = base.index;
    this.assertInvariants();
  }

  assertInvariants(): void {
    const { index: base } = this.#base;
    assert(base <= this.#applied, "compacted entries were applied");
    assert(this.#applied <= this.#handedOut, "applied entries were handed out");
    assert(this.#handedOut <= this.#commit, "handed out entries are committed");
    assert(this.#commit <= this.lastIndex, "committed entries exist");
    assert(this.#durable <= this.#handedToDisk, "durable entries were handed to the disk");
    assert(this.#handedToDisk <= this.lastIndex, "entries handed to the disk exist");
    assert(base <= this.#handedToDisk, "compacted entries were handed to the disk");
    const packed = this.#packed.end - 1;
    assert(packed <= this.#commit, "packed entries are committed");
    assert(packed <= Math.max(this.#durable, base), "packed entries are durable");
  }
}
