import type { ChangeOrigin, MemberChange } from "./member-change.js";

/** A pending change requested by a client of this member. */
export interface OpenChange<Client> {
  readonly change: MemberChange;
  readonly client: Client;
  readonly origin: ChangeOrigin;
  readonly startMs: number;
}

interface Waiting<Client> extends OpenChange<Client> {
  /** Time of the next proposal; infinite if it must not be repeated. */
  nextMs: number;
}

/** Retry interval after raft rejected a change, as it accepts one at a time. */
const AGAIN_WHEN_REFUSED_MS = 50;
/**
 * Retry interval of an accepted proposal: a forwarded one may be lost or rejected without a reply.
 */
const AGAIN_WHEN_SILENT_MS = 250;

/**
 * Pending conf changes. The core proposes those that are due, and finds a change by its origin when
 * its entry is applied. Times are monotonic milliseconds.
 *
 * Additions, promotions and removals may be proposed repeatedly: an id is added, promoted and
 * removed at most once, so a second entry has no effect. An update may not: a late second entry
 * would undo another client's later change.
 */
export class OpenChanges<Client> {
  readonly #memberId: bigint;
  readonly #open = new Map<number, Waiting<Client>>();
  #lastNumber: number;

  /** @param firstNumber far from the range of any earlier incarnation of this member */
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

  /** The changes to propose now, oldest first; report each result to `proposed`. */
  due(monoMs: number): readonly OpenChange<Client>[] {
    return [...this.#open.values()].filter(({ nextMs }) => nextMs <= monoMs);
  }

  /** @param isTaken raft appended or forwarded it */
  proposed({ change, origin }: OpenChange<Client>, isTaken: boolean, monoMs: number): void {
    const waiting = this.#open.get(origin.number);
    if (waiting === undefined) return;
    if (!isTaken) waiting.nextMs = monoMs + AGAIN_WHEN_REFUSED_MS;
    else if (change.kind === "update") waiting.nextMs = Number.POSITIVE_INFINITY;
    else waiting.nextMs = monoMs + AGAIN_WHEN_SILENT_MS;
  }

  /** Removes and returns the change of an applied entry, if it is ours and still pending. */
  take(origin: ChangeOrigin): OpenChange<Client> | undefined {
    if (origin.memberId !== this.#memberId) return undefined;
    const waiting = this.#open.get(origin.number);
    this.#open.delete(origin.number);
    return waiting;
  }

  /** Removes and returns the changes, or those of a kind, started at or before `startMs`. */
  takeOlderThan(startMs: number, kind?: MemberChange["kind"]): readonly OpenChange<Client>[] {
    const old = this.#olderThan(startMs, kind);
    for (const { origin } of old) this.#open.delete(origin.number);
    return old;
  }

  /** Whether `takeOlderThan` would return any. */
  hasOlderThan(startMs: number, kind: MemberChange["kind"]): boolean {
    return this.#olderThan(startMs, kind).length > 0;
  }

  #olderThan(startMs: number, kind?: MemberChange["kind"]): Waiting<Client>[] {
    return [...this.#open.values()].filter(
      (waiting) =>
        waiting.startMs <= startMs && (kind === undefined || waiting.change.kind === kind),
    );
  }
}
