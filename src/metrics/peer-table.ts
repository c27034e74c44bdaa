import { assert } from "../lib/assert.js";
import type { MetricCells } from "./cells.js";
import { idCellOfSlot, PEER_SLOTS, type PeerFamilyKey, slotCellOf } from "./families.js";
import type { PeerTableName } from "./family.js";

const NOBODY = 0n;

/**
 * Per-peer metrics of one thread. A peer has a slot, marked with its id; once released, the slot
 * may go to another peer, with all metrics at 0.
 */
export class PeerTable {
  readonly #cells: MetricCells;
  readonly #name: PeerTableName;
  readonly #figures = new Map<bigint, PeerMetrics>();
  /** Sink for peers without a slot: never shown. */
  readonly #others: PeerMetrics;

  constructor(cells: MetricCells, name: PeerTableName) {
    this.#cells = cells;
    this.#name = name;
    this.#others = new PeerMetrics(cells, PEER_SLOTS);
  }

  /** The peer's slot, a new one if it has none. */
  take(id: bigint): PeerMetrics {
    assert(id !== NOBODY, "a member has an id");
    const known = this.#figures.get(id);
    if (known !== undefined) return known;
    for (let slot = 0; slot < PEER_SLOTS; slot++) {
      const cell = idCellOfSlot(this.#name, slot);
      if (this.#cells.getId(cell) !== NOBODY) continue;
      this.#cells.setId(cell, id);
      const figures = new PeerMetrics(this.#cells, slot);
      this.#figures.set(id, figures);
      return figures;
    }
    return this.#others;
  }

  /** A peer's metrics; not shown if it has no slot. */
  of(id: bigint): PeerMetrics {
    return this.#figures.get(id) ?? this.#others;
  }

  /** Frees a peer's slot. Later counts through its metrics are lost. */
  release(id: bigint): void {
    const figures = this.#figures.get(id);
    if (figures === undefined) return;
    this.#figures.delete(id);
    this.#cells.setId(idCellOfSlot(this.#name, figures.slot), NOBODY);
    figures.retire(this.#name);
  }

  /** Releases the slots of all other peers. */
  keepOnly(ids: readonly bigint[]): void {
    for (const id of [...this.#figures.keys()]) if (!ids.includes(id)) this.release(id);
  }

  releaseAll(): void {
    for (const id of [...this.#figures.keys()]) this.release(id);
  }
}

/** The metrics of one peer. */
export class PeerMetrics {
  readonly #cells: MetricCells;
  #slot: number;

  constructor(cells: MetricCells, slot: number) {
    this.#cells = cells;
    this.#slot = slot;
  }

  get slot(): number {
    return this.#slot;
  }

  add(key: PeerFamilyKey, n: number): void {
    this.#cells.add(slotCellOf(key, this.#slot), n);
  }

  set(key: PeerFamilyKey, value: number): void {
    this.#cells.set(slotCellOf(key, this.#slot), value);
  }

  observe(key: PeerFamilyKey, value: number): void {
    this.#cells.observe(slotCellOf(key, this.#slot), value);
  }

  /** Frees the slot; these metrics then count into the sink. */
  retire(name: PeerTableName): void {
    this.#cells.clearSlot(name, this.#slot);
    this.#slot = PEER_SLOTS;
  }
}
