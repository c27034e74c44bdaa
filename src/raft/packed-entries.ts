import { assert } from "../lib/assert.js";
import type { Entry, EntryType } from "./entry.js";

/** Longer data are kept as they are: a pack of large values would be gigabytes, copied at once. */
export const PACKED_BYTES_MAX = 32 * 1024;

interface Pack {
  readonly terms: Float64Array;
  readonly types: Uint8Array;
  /** End offset of each entry's data in `data`. */
  readonly ends: Uint32Array;
  readonly data: Uint8Array;
  /**
   * Data that were too long to copy, by position in the pack; undefined if there are none, the
   * common case.
   */
  readonly long: ReadonlyMap<number, Uint8Array> | undefined;
}

/**
 * The old part of the log, kept in memory only for lagging members and rarely read. As one object
 * each, 100,000 entries are most of what the garbage collector of a busy member copies and marks;
 * packed into typed arrays, they are a few objects without pointers.
 */
export class PackedEntries {
  #packs: Pack[] = [];
  /** Index of the first entry in `#packs`. */
  #first: number;

  readonly packEntries: number;

  /** @param first the index of the first entry that will be pushed */
  constructor(first: number, packEntries: number) {
    assert(first > 0, "entries count from 1");
    assert(packEntries > 0, "a pack holds an entry at least");
    this.#first = first;
    this.packEntries = packEntries;
  }

  /** The index of the first entry. */
  get first(): number {
    return this.#first;
  }

  /** The index after the last entry. */
  get end(): number {
    return this.#first + this.#packs.length * this.packEntries;
  }

  /** Drops everything. @param first index of the next entry to be pushed */
  startAt(first: number): void {
    assert(first > 0, "entries count from 1");
    this.#packs = [];
    this.#first = first;
  }

  /** @param entries exactly `packEntries`, the first at `end` */
  push(entries: readonly Entry[]): void {
    assert(entries.length === this.packEntries, "a pack is full");
    assert(entries[0]?.index === this.end, "packs follow one another without a gap");
    const last = this.end + this.packEntries - 1;
    assert(entries.at(-1)?.index === last, "the entries of a pack have no gap");
    this.#packs.push(pack(entries));
  }

  /** The other way: takes the entries of the last pack out again. */
  unpackLast(): Entry[] {
    assert(this.#packs.length > 0, "there is a pack");
    const from = this.end - this.packEntries;
    const entries = Array.from({ length: this.packEntries }, (_, i) => this.entry(from + i));
    this.#packs.pop();
    return entries;
  }

  term(index: number): number {
    return this.#packOf(index).terms[this.#placeOf(index)] as number;
  }

  /** Length of the entry's data. */
  bytes(index: number): number {
    const { ends, long } = this.#packOf(index);
    const at = this.#placeOf(index);
    return long?.get(at)?.length ?? (ends[at] as number) - (ends[at - 1] ?? 0);
  }

  entry(index: number): Entry {
    const { terms, types, ends, data, long } = this.#packOf(index);
    const at = this.#placeOf(index);
    return {
      index,
      term: terms[at] as number,
      type: types[at] as EntryType,
      data: long?.get(at) ?? data.subarray(ends[at - 1] ?? 0, ends[at]),
    };
  }

  /** Entries up to `index` are not needed any more; drops the packs that hold nothing else. */
  dropTo(index: number): void {
    const packs = Math.floor((index + 1 - this.#first) / this.packEntries);
    assert(packs >= 0 && packs <= this.#packs.length, "what is dropped is packed");
    this.#packs = this.#packs.slice(packs);
    this.#first += packs * this.packEntries;
    assert(this.#first <= index + 1, "the entries after it are kept");
  }

  #packOf(index: number): Pack {
    const pack = this.#packs[Math.floor((index - this.#first) / this.packEntries)];
    assert(pack !== undefined, "an entry that is asked for is packed");
    return pack;
  }

  #placeOf(index: number): number {
    return (index - this.#first) % this.packEntries;
  }
}

/** Plain loops, as map and friends would allocate per entry. */
function pack(entries: readonly Entry[]): Pack {
  const count = entries.length;
  const terms = new Float64Array(count);
  const types = new Uint8Array(count);
  const ends = new Uint32Array(count);
  let long: Map<number, Uint8Array> | undefined;
  let end = 0;
  for (let i = 0; i < count; i++) {
    const { term, type, data } = entries[i] as Entry;
    terms[i] = term;
    types[i] = type;
    if (data.length <= PACKED_BYTES_MAX) end += data.length;
    else {
      long ??= new Map();
      long.set(i, data);
    }
    ends[i] = end;
  }
  assert(end < 2 ** 32, "offsets within a pack fit 32 bits");
  const packed = new Uint8Array(end);
  for (let i = 0; i < count; i++) {
    const { data } = entries[i] as Entry;
    if (data.length <= PACKED_BYTES_MAX) packed.set(data, ends[i - 1] ?? 0);
  }
  return { terms, types, ends, data: packed, long };
}
