import type { Operation, Value } from "../../support/linearizable.js";

/**
 * A write that was acknowledged, or an answer of the store at one index: for the order of the log.
 */
export interface Indexed {
  readonly call: number;
  readonly returned: number;
  readonly index: number;
  /** A write has its index for itself; any other answer shares it with what was before. */
  readonly isWrite: boolean;
  readonly text: string;
}

/** Creation of a key nobody creates a second time. */
export interface Append {
  readonly name: string;
  readonly value: string;
  /** 0: the outcome is unknown. */
  readonly index: number;
}

/** An acknowledged change, as a watcher should see it. */
export interface Change {
  readonly index: number;
  readonly action: string;
  readonly key: string;
  readonly value: Value;
}

/** Everything clients saw in one round. */
export class History {
  readonly registers: Operation[] = [];
  readonly indexed: Indexed[] = [];
  readonly appends: Append[] = [];
  readonly changes: Change[] = [];
  /** Answers that no server may give, in words. */
  readonly complaints: string[] = [];
  /** By modifiedIndex: what the key was seen to hold then. */
  readonly valueAt = new Map<number, Value>();
  /** Swaps refused with nothing but the index they found: settled once all indexes are known. */
  readonly refusedByIndex: { operation: Operation; foundIndex: number }[] = [];
  readonly figures = { answered: 0, refused: 0, unknown: 0, unsent: 0 };
  #position = 0;

  /** The next position in the one order of calls and returns. */
  next(): number {
    return this.#position++;
  }

  /**
   * Register operations for the checker; answers that named an index are told by value where known.
   */
  get operations(): Operation[] {
    return [
      ...this.registers,
      ...this.refusedByIndex.map(({ operation, foundIndex }) => {
        const value = this.valueAt.get(foundIndex);
        if (value === undefined) return operation;
        return { ...operation, requires: value, forbids: undefined };
      }),
    ];
  }
}
