import { assert } from "../lib/assert.js";

/** Counters of /v2/stats/store, in the order of the snapshot's head. */
export const STAT_NAMES = [
  "getsSuccess",
  "getsFail",
  "setsSuccess",
  "setsFail",
  "deleteSuccess",
  "deleteFail",
  "updateSuccess",
  "updateFail",
  "createSuccess",
  "createFail",
  "compareAndSwapSuccess",
  "compareAndSwapFail",
  "compareAndDeleteSuccess",
  "compareAndDeleteFail",
  "expireCount",
] as const;
export type StatName = (typeof STAT_NAMES)[number];

export const Stat = Object.fromEntries(STAT_NAMES.map((name, i) => [name, i])) as Readonly<
  Record<StatName, number>
>;

/**
 * Every member counts writes as it applies them; a read is counted only by the member that serves
 * it.
 */
export class StoreStats {
  readonly #counts = new Float64Array(STAT_NAMES.length);

  add(stat: number): void {
    assert(stat >= 0 && stat < STAT_NAMES.length, "the counter exists");
    this.#counts[stat] = (this.#counts[stat] as number) + 1;
  }

  get(name: StatName): number {
    return this.#counts[Stat[name]] as number;
  }

  toArray(): number[] {
    return [...this.#counts];
  }

  static of(counts: readonly number[]): StoreStats {
    const stats = new StoreStats();
    stats.#counts.set(counts.slice(0, STAT_NAMES.length));
    return stats;
  }
}
