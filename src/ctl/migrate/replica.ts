import { inParallel } from "../output/parallel.js";
import type { Change } from "./follower.js";
import { differenceOf, type Item, isBelow } from "./listing.js";
import type { ScopeListing, Side } from "./side.js";

/** etcd shows this for bytes that are not UTF-8. */
const REPLACEMENT = "\ufffd";
/** Changes applied at once, if none depends on another. */
const TOGETHER_MAX = 256;

export interface ReplicaOptions {
  readonly source: Side;
  readonly target: Side;
  /** Keys that only the target has stay, unless the source had them. */
  readonly isMerge: boolean;
  readonly concurrency: number;
  /** Told of each node that is written or skipped. */
  readonly onWritten: () => void;
}

/** What was done so far. */
export interface ReplicaCounts {
  files: number;
  directories: number;
  bytes: number;
  removed: number;
  changes: number;
}

/** The copy in the target. */
export class Replica {
  readonly counts: ReplicaCounts = { files: 0, directories: 0, bytes: 0, removed: 0, changes: 0 };
  /** Keys whose values were not UTF-8, and are copied as the source shows them. */
  readonly altered = new Set<string>();
  /** Keys that are not UTF-8 themselves: no request can name them. */
  readonly unnamed = new Set<string>();
  /** Deadlines by the source's clock. */
  readonly deadlines = new Map<string, number>();
  readonly #options: ReplicaOptions;
  /** Keys that the source had, for a merge. */
  readonly #known = new Set<string>();

  constructor(options: ReplicaOptions) {
    this.#options = options;
  }

  /** Makes the target equal to a listing of the source. @returns the number of nodes changed */
  async sync(
    scope: string,
    listing: ScopeListing,
    onCount?: (count: number) => void,
  ): Promise<number> {
    const { put, remove } = await this.difference(scope, listing);
    onCount?.(put.length);
    for (const item of listing.items.values()) if (!this.#isUnnamed(item.key)) this.#know(item);
    for (const key of remove) await this.#remove(key, true);
    // Directories first and in order, as a TTL may be set before they have children.
    for (const item of put) if (item.isDirectory) await this.#put(item);
    const files = put.filter(({ isDirectory }) => !isDirectory);
    await inParallel(files, this.#options.concurrency, (item) => this.#put(item));
    return put.length + remove.length;
  }

  /** What the target lacks, or has beside it, of a listing of the source. */
  async difference(scope: string, { items }: ScopeListing) {
    const { source, target, isMerge } = this.#options;
    const named = new Map([...items].filter(([key]) => !this.#isUnnamed(key)));
    const other = await target.list(scope);
    const remaining = { source: source.remaining, target: target.remaining };
    const { put, remove } = differenceOf(named, other.items, remaining);
    return { put, remove: isMerge ? remove.filter((key) => this.#known.has(key)) : remove };
  }

  /**
   * Applies changes in their order.
   *
   * @param scopes other scopes: what is removed with a directory around them is read again
   */
  async apply(scope: string, changes: readonly Change[], scopes: readonly string[]): Promise<void> {
    let together = new Map<string, Item>();
    const flush = async () => {
      const items = together.values();
      together = new Map();
      await inParallel(items, this.#options.concurrency, (item) => this.#put(item));
    };
    for (const change of changes) {
      if (change.kind !== "none") this.counts.changes++;
      if (change.kind === "put" && !change.item.isDirectory) {
        together.set(change.item.key, change.item);
        if (together.size >= TOGETHER_MAX) await flush();
        continue;
      }
      if (change.kind === "none") continue;
      await flush();
      if (change.kind === "put") await this.#put(change.item);
      else if (change.kind === "reset") await this.sync(scope, change.listing);
      else if (!change.isDirectory) await this.#remove(change.key, false);
      else await this.#removeWithScopes(change.key, scope, scopes);
    }
    await flush();
  }

  /**
   * TTLs that the source refreshed without an event, as `refresh=true` does, are refreshed in the
   * target, too.
   *
   * @param withinMs keys that would expire so soon are looked up
   */
  async renew(withinMs: number): Promise<void> {
    const { source, concurrency } = this.#options;
    const due = [...this.deadlines].filter(([, at]) => source.remaining(at) < withinMs);
    await inParallel(due, concurrency, ([key, atMs]) => this.#renew(key, atMs));
  }

  async #renew(key: string, atMs: number): Promise<void> {
    const { source } = this.#options;
    let item = await source.read(key);
    // It may have been written or removed meanwhile.
    if (this.deadlines.get(key) !== atMs || item?.expirationMs === atMs) return;
    if (item === undefined) this.deadlines.delete(key);
    while (item !== undefined) {
      await this.#put(item);
      if (this.deadlines.get(key) === (item.expirationMs || undefined)) return;
      // A change was written at the same time, and may have been overwritten.
      item = await source.read(key);
    }
  }

  async #removeWithScopes(key: string, scope: string, scopes: readonly string[]): Promise<void> {
    await this.#remove(key, true);
    for (const other of scopes) {
      if (other === scope || !isBelow(other, key)) continue;
      await this.sync(other, await this.#options.source.list(other));
    }
  }

  async #put(item: Item): Promise<void> {
    const { source, target, onWritten } = this.#options;
    const { key, isDirectory, value, expirationMs } = item;
    if (this.#isUnnamed(key)) return;
    this.#know(item);
    await target.put(item, expirationMs === 0 ? undefined : () => source.remaining(expirationMs));
    if (isDirectory) this.counts.directories++;
    else this.counts.files++;
    this.counts.bytes += Buffer.byteLength(key) + Buffer.byteLength(value);
    onWritten();
  }

  async #remove(key: string, isDirectory: boolean): Promise<void> {
    if (this.#isUnnamed(key)) return;
    await this.#options.target.remove(key);
    this.counts.removed++;
    for (const kept of [this.deadlines, this.altered, this.#known]) {
      kept.delete(key);
      if (!isDirectory) continue;
      for (const other of [...kept.keys()]) if (isBelow(other, key)) kept.delete(other);
    }
  }

  #know({ key, value, expirationMs }: Item): void {
    if (this.#options.isMerge) this.#known.add(key);
    if (value.includes(REPLACEMENT)) this.altered.add(key);
    else this.altered.delete(key);
    if (expirationMs === 0) this.deadlines.delete(key);
    else this.deadlines.set(key, expirationMs);
  }

  #isUnnamed(key: string): boolean {
    if (!key.includes(REPLACEMENT)) return false;
    this.unnamed.add(key);
    return true;
  }
}
