import type { ChangeOrigin, MemberChange } from "./member-change.js";

/** A change that a client of this member waits for. */
export interface OpenChange<Client> {
  readonly change: MemberChange;
  readonly client: Client;
  readonly origin: ChangeOrigin;
  readonly startMs: number;
}

interface Waiting<Client> extends OpenChange<Client> {
  /** When it is proposed next; infinite if once was enough. */
  nextMs: number;
}

/** Raft takes one change at a time, and refuses others meanwhile. */
const AGAIN_WHEN_REFUSED_MS = 50;
/** A proposal on its way to the leader may be lost, or refused there, without a word. */
const AGAIN_WHEN_SILENT_MS = 250;

/**
 * Conf changes on their way through the log. The core proposes those that are due, and finds one
 * again by its origin when its entry is applied. Times are of a clock that never jumps.
 *
 * An addition and a removal may be proposed again and again: an id is added once and removed once,
 * so a second entry has no effect. A changed URL may not: a late second entry would undo what
 * somebody else has changed since.
 */
export class OpenChanges<Client> {
  readonly #memberId: bigint;
  readonly #open = new Map<number, Waiting<Client>>();
  #lastNumber: number;

  /** @param firstNumber far from those of any earlier life of this member */
  constructor(memberId: bigint, firstNumber: number) {
    this.#memberId = memberId;
    this.#lastNumber = firstNumber;
  }

  get size(): number {
    return this.#open.size;
  }

  add(change: MemberChange, client: Client, monoMs: number): void {
    const number = ++this.#lastNumber;
    const origin = { memberId: this.#memberId, number };
    this.#open.set(number, { change, client, origin, startMs: monoMs, nextMs: monoMs });
  }

  /** What to propose now, oldest first; then `proposed` is told how it went. */
  due(monoMs: number): readonly OpenChange<Client>[] {
    return [...this.#open.values()].filter(({ nextMs }) => nextMs <= monoMs);
  }

  /** @param isTaken raft appended it, or passed it on */
  proposed({ change, origin }: OpenChange<Client>, isTaken: boolean, monoMs: number): void {
    const waiting = this.#open.get(origin.number);
    if (waiting === undefined) return;
    if (!isTaken) waiting.nextMs = monoMs + AGAIN_WHEN_REFUSED_MS;
    else if (change.kind === "update") waiting.nextMs = Number.POSITIVE_INFINITY;
    else waiting.nextMs = monoMs + AGAIN_WHEN_SILENT_MS;
  }

  /** The one that an applied entry came from, if it is ours and still waits. */
  take(origin: ChangeOrigin): OpenChange<Client> | undefined {
    if (origin.memberId !== this.#memberId) return undefined;
    const waiting = this.#open.get(origin.number);
    this.#open.delete(origin.number);
    return waiting;
  }

  /** Takes out those that have waited since before `startMs`. */
  takeOlderThan(startMs: number): readonly OpenChange<Client>[] {
    const old = [...this.#open.values()].filter((waiting) => waiting.startMs <= startMs);
    for (const { origin } of old) this.#open.delete(origin.number);
    return old;
  }
}
