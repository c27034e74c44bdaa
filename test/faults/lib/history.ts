import type { Operation, Value } from "../../support/linearizable.js";

/** An acknowledged write, or a response of the store at one index: for the order of the log. */
export interface Indexed {
  readonly call: number;
  readonly returned: number;
  readonly index: number;
  /** A write's index is its own; any other response shares an earlier one. */
  readonly isWrite: boolean;
  readonly text: string;
}

/** Creation of a key that is created only once. */
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

/** All that clients observed in one round. */
export class History {
  readonly registers: Operation[] = [];
  readonly indexed: Indexed[] = [];
  readonly appends: Append[] = [];
  readonly changes: Change[] = [];
  /** Invalid responses, as texts. */
  readonly complaints: string[] = [];
  /** By modifiedIndex: the key's observed value. */
  readonly valueAt = new Map<number, Value>();
  /** Swaps rejected with only the index found: resolved once all indexes are known. */
  readonly refusedByIndex: { operation: Operation; foundIndex: number }[] = [];
  readonly figures = { answered: 0, refused: 0, unknown: 0, unsent: 0 };
  #position = 0;

  /** The next position in the one order of calls and returns. */
  next(): number {
    return this.#position++;
  }

  /**
   * Register operations for the checker; responses with an index are resolved to values if known.
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
