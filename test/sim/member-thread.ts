import assert from "node:assert/strict";
import { Bell } from "#ringd/ring/bell.js";

const AWAKE = 0;

export interface SimThreadParts {
  readonly name: string;
  /** @returns whether something came in: then it looks again before it parks */
  readonly turn: () => boolean;
  /** Looked at before it parks. */
  readonly hasWork: () => boolean;
  /** How long it sleeps if nobody rings. */
  readonly msToNext: () => number;
}

export function isParked(bell: SharedArrayBuffer): boolean {
  return Atomics.load(new Int32Array(bell), 0) !== AWAKE;
}

/**
 * A thread that takes turns and parks at its bell, as the real ones do; who does not ring it,
 * waits.
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

  /** Whoever gives work to a thread that sleeps rings its bell. */
  checkAwake(): void {
    const { name, hasWork } = this.#parts;
    assert.ok(!this.#isParked || !hasWork(), `${name} sleeps over its work: nobody rang`);
  }
}
