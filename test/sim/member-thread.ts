import assert from "node:assert/strict";
import { Bell } from "#ringd/ring/bell.js";

const AWAKE = 0;

export interface SimThreadParts {
  readonly name: string;
  /** @returns whether there was input: then it checks again before it parks */
  readonly turn: () => boolean;
  /** Checked before it parks. */
  readonly hasWork: () => boolean;
  /** Longest sleep without a ring of the bell. */
  readonly msToNext: () => number;
}

export function isParked(bell: SharedArrayBuffer): boolean {
  return Atomics.load(new Int32Array(bell), 0) !== AWAKE;
}

/**
 * A thread that takes turns and parks on its bell, like the real ones: without a ring it sleeps.
 */
export class SimThread {
  readonly #parts: SimThreadParts;
  readonly #bell: Bell;
  readonly #cell: Int32Array;

  constructor(memory: SharedArrayBuffer, parts: SimThreadParts) {
    this.#parts = parts;
    this.#bell = new Bell(memory);
    this.#cell = new Int32Array(memory);
  }

  get #isParked(): boolean {
    return Atomics.load(this.#cell, 0) !== AWAKE;
  }

  /** @returns false if it slept */
  step(): boolean {
    const { turn, hasWork, msToNext } = this.#parts;
    if (this.#isParked && msToNext() > 0) return false;
    this.#bell.disarm();
    if (!turn()) this.#bell.rearm(hasWork);
    return true;
  }

  /** Asserts that no thread sleeps although it has work: its bell must be rung. */
  checkAwake(): void {
    const { name, hasWork } = this.#parts;
    assert.ok(!this.#isParked || !hasWork(), `${name} sleeps over its work: nobody rang`);
  }
}
