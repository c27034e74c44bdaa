/**
 * Decides whether recorded operations on registers are linearizable: whether each can be assigned
 * one moment between its call and its return so that, executed in that order, all responses are
 * correct.
 *
 * The search is Wing and Gong's in the just-in-time form of Lowe ("Testing for linearizability",
 * 2017, section 4): the history is read once; between two events the checker holds every
 * configuration (which open operations have happened, the value) that explains all responses so
 * far. None is visited twice, nor one that another makes redundant. An operation of unknown outcome
 * (timeout, closed connection) may have happened at any time after its call, or never: it stays
 * open.
 *
 * Linearizability is local (Herlihy and Wing, 1990), so each key is checked by itself.
 */

/** A register's value; null: the key does not exist. */
export type Value = string | null;

/** One operation on a register. */
export interface Operation {
  readonly key: string;
  /** Position of the call among all calls and returns of the history; all positions differ. */
  readonly call: number;
  /** Position of the return; Infinity if the outcome is unknown. */
  readonly returned: number;
  /** The value it found; undefined: any. */
  readonly requires?: Value | undefined;
  /** Values it did not find, for a response that does not determine `requires`. */
  readonly forbids?: readonly Value[] | undefined;
  /** The value it wrote; undefined: none. */
  readonly leaves?: Value | undefined;
  /** For people: client, member and request. */
  readonly text: string;
}

export interface Violation {
  readonly key: string;
  /** The first operation whose response has no explanation. */
  readonly at: Operation;
  /** Values the register may have had when it returned. */
  readonly values: readonly Value[];
  /** Operations that were open then, or had returned shortly before. */
  readonly context: readonly Operation[];
}

/** Limit of configurations of one key at one time: beyond it the history is too wide to decide. */
const CONFIGURATIONS_MAX = 500_000;
const CONTEXT_MAX = 20;

/** @throws Error if a key is too wide to decide; @returns one violation per key that has one */
export function checkLinearizable(
  history: Iterable<Operation>,
  initial: Value = null,
): Violation[] {
  const keys = new Map<string, Operation[]>();
  for (const operation of history) {
    const list = keys.get(operation.key);
    if (list === undefined) keys.set(operation.key, [operation]);
    else list.push(operation);
  }
  const violations: Violation[] = [];
  for (const operations of keys.values()) {
    const violation = new RegisterCheck(settleUnknown(operations, initial), initial).run();
    if (violation !== undefined) violations.push(violation);
  }
  return violations;
}

export function describeViolation({ key, at, values, context }: Violation): string {
  const line = (operation: Operation) =>
    `  ${operation === at ? ">" : " "} [${operation.call}, ${operation.returned}] ${operation.text}`;
  return [
    `${key} is not linearizable: nothing explains "${at.text}"; the value may have been ${values
      .map((value) => value ?? "absent")
      .join(" or ")}`,
    ...context.map(line),
  ].join("\n");
}

/**
 * Resolves unknown outcomes by values. If only one operation writes a value, it happened if the
 * value was seen, before the first response with it; if the value was never seen, it may as well
 * not have happened. The latter requires that every response names its value: with a vague response
 * (`forbids`) after it, the operation stays open.
 */
function settleUnknown(operations: readonly Operation[], initial: Value): Operation[] {
  const writers = new Map<Value, number>([[initial, 1]]);
  for (const { leaves } of operations) {
    if (leaves !== undefined) writers.set(leaves, (writers.get(leaves) ?? 0) + 1);
  }
  /** By value: the first return of an operation that certainly happened and required it. */
  const firstSeen = new Map<Value, number>();
  const see = (value: Value | undefined, returned: number) => {
    if (value === undefined || returned === Infinity) return false;
    if (returned >= (firstSeen.get(value) ?? Infinity)) return false;
    firstSeen.set(value, returned);
    return true;
  };
  let vagueUntil = -1;
  for (const { requires, forbids, returned } of operations) {
    see(requires, returned);
    if (forbids !== undefined && returned !== Infinity) {
      vagueUntil = Math.max(vagueUntil, returned);
    }
  }
  const unknown = operations.filter(
    ({ returned, leaves }) =>
      returned === Infinity && leaves !== undefined && leaves !== null && writers.get(leaves) === 1,
  );
  // The value that an unknown operation found existed, too, if it happened: a chain of any length.
  for (let changed = true; changed; ) {
    changed = false;
    for (const { leaves, requires } of unknown) {
      const seen = firstSeen.get(leaves as Value);
      if (seen !== undefined && see(requires, seen)) changed = true;
    }
  }
  const settled = new Set(unknown);
  const isDated = ({ leaves, call }: Operation) => (firstSeen.get(leaves as Value) ?? -1) > call;
  // An open operation needs the value it may have found, so that value's writer stays open, too,
  // and so on.
  const open = operations.filter(
    (operation) =>
      operation.returned === Infinity &&
      operation.leaves !== undefined &&
      (!settled.has(operation) ||
        (!isDated(operation) && (firstSeen.has(operation.leaves) || vagueUntil > operation.call))),
  );
  const isOpen = new Set(open);
  for (const { requires } of open) {
    for (const writer of requires === undefined ? [] : unknown) {
      if (writer.leaves !== requires || isDated(writer) || isOpen.has(writer)) continue;
      isOpen.add(writer);
      open.push(writer);
    }
  }
  const result: Operation[] = [];
  for (const operation of operations) {
    if (operation.returned !== Infinity || isOpen.has(operation)) result.push(operation);
    else if (settled.has(operation) && isDated(operation)) {
      // Just before the response with the value.
      const seen = firstSeen.get(operation.leaves as Value) as number;
      result.push({ ...operation, returned: seen - 0.5 });
    }
  }
  return result;
}

/** An operation between its call and its return, with the bit that says "has happened". */
interface Open {
  readonly operation: Operation;
  readonly bit: bigint;
  readonly requires: number;
  readonly forbids: readonly number[];
  readonly leaves: number;
  /**
   * May happen at any value, and writes one that no response names: all of these are equivalent.
   */
  readonly isWildcard: boolean;
}

const ANY = -1;
const STATE_BITS = 32n;
const STATE_MASK = (1n << STATE_BITS) - 1n;

/**
 * One key. A configuration is one bigint: the value's number in the low 32 bits, above them one bit
 * per open operation that has happened.
 *
 * An allowed operation that changes nothing is applied at once: a configuration with it explains
 * all that the same one without it does.
 */
class RegisterCheck {
  readonly #operations: readonly Operation[];
  readonly #numbers = new Map<Value, number>();
  readonly #values: Value[] = [];
  /** By value: operations that write it and have not returned yet, called or not. */
  readonly #futureWriters = new Map<number, number>();
  /** Values named by some response. */
  readonly #named = new Set<number>();
  readonly #open = new Map<Operation, Open>();
  readonly #recent: Operation[] = [];
  #freeBits: bigint[] = [];
  #bitsUsed = 0n;
  #configurations: readonly bigint[];

  constructor(operations: readonly Operation[], initial: Value) {
    this.#operations = operations;
    this.#configurations = [BigInt(this.#number(initial))];
    for (const { requires, forbids = [], leaves } of operations) {
      if (requires !== undefined) this.#named.add(this.#number(requires));
      for (const value of forbids) this.#named.add(this.#number(value));
      if (leaves === undefined) continue;
      const value = this.#number(leaves);
      this.#futureWriters.set(value, (this.#futureWriters.get(value) ?? 0) + 1);
    }
  }

  run(): Violation | undefined {
    const events: [at: number, operation: Operation, isCall: boolean][] = [];
    for (const operation of this.#operations) {
      events.push([operation.call, operation, true]);
      if (operation.returned !== Infinity) events.push([operation.returned, operation, false]);
    }
    events.sort((a, b) => a[0] - b[0]);
    for (const [, operation, isCall] of events) {
      if (isCall) this.#call(operation);
      else if (!this.#return(operation)) return this.#violation(operation);
    }
    return undefined;
  }

  #call(operation: Operation): void {
    const bit = this.#freeBits.pop() ?? 1n << (STATE_BITS + this.#bitsUsed++);
    const requires = operation.requires === undefined ? ANY : this.#number(operation.requires);
    const forbids = (operation.forbids ?? []).map((value) => this.#number(value));
    const leaves = operation.leaves === undefined ? ANY : this.#number(operation.leaves);
    const isWildcard =
      operation.returned === Infinity &&
      leaves !== ANY &&
      requires === ANY &&
      forbids.length === 0 &&
      !this.#named.has(leaves);
    const open = { operation, bit, requires, forbids, leaves, isWildcard };
    this.#open.set(operation, open);
    if (open.leaves !== ANY) return;
    this.#configurations = this.#configurations.map((configuration) =>
      isAllowed(open, configuration) ? configuration | bit : configuration,
    );
  }

  /** @returns false if no configuration explains it */
  #return(operation: Operation): boolean {
    const returning = this.#open.get(operation) as Open;
    const writers = [...this.#open.values()].filter(({ leaves }) => leaves !== ANY);
    const seen = this.#frontier();
    const stack = this.#configurations.filter((configuration) => seen.add(configuration));
    const next = this.#frontier();
    for (let at = stack.pop(); at !== undefined; at = stack.pop()) {
      if ((at & returning.bit) !== 0n) {
        next.add(at & ~returning.bit);
        continue;
      }
      // One wildcard is enough to try, and none on top of another.
      let isWildcardTried = !this.#named.has(Number(at & STATE_MASK));
      for (const writer of writers) {
        if ((at & writer.bit) !== 0n || !isAllowed(writer, at)) continue;
        if (writer.isWildcard && isWildcardTried) continue;
        isWildcardTried ||= writer.isWildcard;
        const after = this.#saturate((at & ~STATE_MASK) | writer.bit | BigInt(writer.leaves));
        if (!seen.add(after)) continue;
        if (seen.size >= CONFIGURATIONS_MAX) {
          throw new Error(
            `Cannot decide ${operation.key}: more than ${CONFIGURATIONS_MAX} explanations at once`,
          );
        }
        stack.push(after);
      }
    }
    if (next.size === 0) return false;
    this.#configurations = next.configurations;
    this.#retire(returning);
    this.#retireHopeless();
    this.#recent.push(operation);
    if (this.#recent.length > CONTEXT_MAX) this.#recent.shift();
    return true;
  }

  #frontier(): Frontier {
    let optional = 0n;
    let pure = 0n;
    for (const { operation, bit, leaves } of this.#open.values()) {
      if (leaves === ANY) pure |= bit;
      else if (operation.returned === Infinity) optional |= bit;
    }
    return new Frontier(optional, pure);
  }

  /** Applies every open operation that changes nothing and is allowed now. */
  #saturate(configuration: bigint): bigint {
    let result = configuration;
    for (const open of this.#open.values()) {
      if (open.leaves === ANY && isAllowed(open, result)) result |= open.bit;
    }
    return result;
  }

  #retire({ operation, bit, leaves }: Open): void {
    this.#open.delete(operation);
    this.#freeBits.push(bit);
    if (leaves !== ANY) {
      this.#futureWriters.set(leaves, (this.#futureWriters.get(leaves) ?? 0) - 1);
    }
  }

  /** Closes operations of unknown outcome whose required value cannot occur again. */
  #retireHopeless(): void {
    for (const open of this.#open.values()) {
      if (open.operation.returned !== Infinity || open.requires === ANY) continue;
      if ((this.#futureWriters.get(open.requires) ?? 0) > 0) continue;
      let isPossible = false;
      for (const configuration of this.#configurations) {
        isPossible ||= Number(configuration & STATE_MASK) === open.requires;
      }
      if (isPossible) continue;
      this.#configurations = this.#configurations.map((configuration) => configuration & ~open.bit);
      this.#retire(open);
    }
  }

  #violation(at: Operation): Violation {
    const values = new Set<Value>();
    for (const configuration of this.#configurations) {
      values.add(this.#values[Number(configuration & STATE_MASK)] ?? null);
    }
    const context = [...this.#recent, ...this.#open.keys()].sort((a, b) => a.call - b.call);
    return { key: at.key, at, values: [...values], context };
  }

  #number(value: Value): number {
    let number = this.#numbers.get(value);
    if (number === undefined) {
      number = this.#values.push(value) - 1;
      this.#numbers.set(value, number);
    }
    return number;
  }
}

/**
 * Configurations of one moment, without redundant ones: another, with equal value and equal
 * mandatory writes, has used no more optional writes and owes no more reads.
 */
class Frontier {
  readonly #pure: bigint;
  readonly #free: bigint;
  /**
   * By value and mandatory writes: optional writes used and reads owed, none a subset of another.
   */
  readonly #costs = new Map<bigint, bigint[]>();
  size = 0;

  constructor(optional: bigint, pure: bigint) {
    this.#pure = pure;
    this.#free = optional | pure;
  }

  /** @returns false if it is redundant */
  add(configuration: bigint): boolean {
    const base = configuration & ~this.#free;
    const cost = (configuration & this.#free) ^ this.#pure;
    const costs = this.#costs.get(base) ?? [];
    if (costs.some((other) => (other & ~cost) === 0n)) return false;
    const left = costs.filter((other) => (cost & ~other) !== 0n);
    left.push(cost);
    this.size += left.length - costs.length;
    this.#costs.set(base, left);
    return true;
  }

  get configurations(): bigint[] {
    return [...this.#costs].flatMap(([base, costs]) =>
      costs.map((cost) => base | (cost ^ this.#pure)),
    );
  }
}

function isAllowed({ requires, forbids }: Open, configuration: bigint): boolean {
  const state = Number(configuration & STATE_MASK);
  return (requires === ANY || requires === state) && !forbids.includes(state);
}
