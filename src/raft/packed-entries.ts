import { assert } from "../lib/assert.js";
import type { Entry, EntryType } from "./entry.js";

/** Longer data stay where they are: a pack of them would be gigabytes, copied in one go. */
export const PACKED_BYTES_MAX = 32 * 1024;

interface Pack {
  readonly terms: Float64Array;
  readonly types: Uint8Array;
  /** Where the data of each entry end in `data`. */
  readonly ends: Uint32Array;
  readonly data: Uint8Array;
  /** By place; undefined where there are none, as nearly always. */
  readonly long: ReadonlyMap<number, Uint8Array> | undefined;
}

/**
 * The long tail of a log: entries that stay in memory only for a member that lags behind, and are
 * hardly ever looked at again. As objects of their own, 100,000 of them are what the garbage
 * collector of a busy member copies and marks most; packed, they are a handful of objects it does
 * not look into.
 */
export class PackedEntries {
  #packs: Pack[] = [];
  /** Index of the first entry in `#packs`. */
  #first: number;

  readonly packEntries: number;

  /** @param first the index of the first entry that will be pushed */
  constructor(first: number, packEntries: number) {
    assert(packEntries > 0, "a pack holds an entry at least");
    this.#first = first;
    this.packEntries = packEntries;
  }

  /** The index after the last entry. */
  get end(): number {
    return this.#first + this.#packs.length * this.packEntries;
  }

  /** Forgets everything. @param first the index of the first entry that will be pushed */
  startAt(first: number): void {
    this.#packs = [];
    this.#first = first;
  }

  /** @param entries as many as make a pack, the first at `end` */
  push(entries: readonly Entry[]): void {
    assert(entries.length === this.packEntries, "a pack is full");
    assert(entries[0]?.index === this.end, "packs follow one another without a gap");
    this.#packs.push(pack(entries));
  }

  term(index: number): number {
    return this.#packOf(index).terms[this.#placeOf(index)] as number;
  }

  /** Of the entry's data. */
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

  /** Entries up to `index` are not asked for any more. */
  dropTo(index: number): void {
    const packs = Math.floor((index + 1 - this.#first) / this.packEntries);
    assert(packs >= 0 && packs <= this.#packs.length, "what is dropped is packed");
    this.#packs = this.#packs.slice(packs);
    this.#first += packs * this.packEntries;
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

/** Plain loops: the calls that would say it in a line make objects for each entry. */
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
  const packed = new Uint8Array(end);
  for (let i = 0; i < count; i++) {
    const { data } = entries[i] as Entry;
    if (data.length <= PACKED_BYTES_MAX) packed.set(data, ends[i - 1] ?? 0);
  }
  return { terms, types, ends, data: packed, long };
}
