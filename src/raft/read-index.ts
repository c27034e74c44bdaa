import { assert } from "../lib/assert.js";

/** A read may be served once the store has applied up to `index`. */
export interface ReadState {
  readonly ctx: number;
  readonly index: number;
}

/** A follower's batch of reads, identified by sender and request number. */
export interface RemoteRead {
  readonly from: bigint;
  readonly request: number;
}

interface Round {
  readonly number: number;
  /** The leader's commit index when the round began. */
  readonly index: number;
  readonly local: readonly number[];
  readonly remote: readonly RemoteRead[];
}

export type ConfirmedRound = Omit<Round, "number">;

/**
 * Linearizable reads without log entries (Raft thesis, 6.4). A read needs an index that covers
 * every write acknowledged before it was requested. The leader's commit index is one, provided that
 * a majority replies to a heartbeat sent after the request, which proves that it still leads.
 *
 * Reads share rounds of heartbeats, which carry the round's number; a reply to a round confirms all
 * earlier ones. A follower sends its reads to the leader in batches, one at a time, and repeats the
 * request until the reply. When the leader is lost, reads wait for the next one; timeouts are the
 * shell's.
 */
export class ReadIndexes {
  readonly #readsMax: number;
  readonly #roundsMax: number;
  /** Requested on this member, not yet part of a round or batch. */
  #waiting: number[] = [];
  #remote: RemoteRead[] = [];
  /** Leader: rounds in flight, oldest first. */
  #rounds: Round[] = [];
  #lastRound = 0;
  /** Follower: the batch in flight. */
  #batch: readonly number[] | undefined;
  #request: number;

  /**
   * @param readsMax waiting reads; more are rejected
   * @param roundsMax rounds in flight
   * @param firstRequest random and well below 2^53, so that a delayed reply to an earlier
   *   incarnation of this member does not match a request of this one
   */
  constructor(readsMax: number, roundsMax: number, firstRequest: number) {
    assert(readsMax > 0 && roundsMax > 0, "some reads may wait");
    this.#readsMax = readsMax;
    this.#roundsMax = roundsMax;
    this.#request = firstRequest;
    assert(Number.isSafeInteger(firstRequest) && firstRequest >= 0, "requests are numbered");
  }

  get lastRound(): number {
    return this.#lastRound;
  }

  /** @returns false if too many are waiting */
  add(ctx: number): boolean {
    if (this.#waiting.length >= this.#readsMax) return false;
    this.#waiting.push(ctx);
    return true;
  }

  /** A repeated request is kept and replied to twice: harmless, and cheaper than a lookup. */
  addRemote(read: RemoteRead): void {
    if (this.#remote.length < this.#readsMax) this.#remote.push(read);
  }

  hasWaiting(): boolean {
    return this.#waiting.length > 0 || this.#remote.length > 0;
  }

  canStartRound(): boolean {
    return this.hasWaiting() && this.#rounds.length < this.#roundsMax;
  }

  /** Leader: turns all waiting reads into a round. The caller sends heartbeats with its number. */
  startRound(commit: number): void {
    assert(this.canStartRound(), "there are reads for a round");
    assert(commit >= (this.#rounds.at(-1)?.index ?? 0), "a later round sees no less");
    this.#lastRound++;
    this.#rounds.push({
      number: this.#lastRound,
      index: commit,
      local: this.#waiting,
      remote: this.#remote,
    });
    this.#waiting = [];
    this.#remote = [];
  }

  /** Leader: a majority has confirmed round `number`, and with it all earlier rounds. */
  confirm(number: number): readonly ConfirmedRound[] {
    assert(number <= this.#lastRound, "a round that is confirmed has begun");
    let count = 0;
    while (count < this.#rounds.length && (this.#rounds[count] as Round).number <= number) count++;
    return count === 0 ? [] : this.#rounds.splice(0, count);
  }

  /** Follower: whether a new batch can be sent. */
  canStartBatch(): boolean {
    return this.#batch === undefined && this.#waiting.length > 0;
  }

  startBatch(): void {
    assert(this.canStartBatch(), "there are reads for a batch");
    assert(this.#rounds.length === 0, "a follower begins no rounds");
    this.#batch = this.#waiting;
    this.#waiting = [];
    this.#request++;
  }

  /** Follower: the request number of the batch in flight, if any. */
  get openRequest(): number | undefined {
    return this.#batch === undefined ? undefined : this.#request;
  }

  /** Follower: takes the reads of a reply's batch; none if the reply is stale. */
  answered(request: number): readonly number[] {
    if (this.#batch === undefined || request !== this.#request) return [];
    const batch = this.#batch;
    assert(batch.length > 0, "a batch has reads");
    this.#batch = undefined;
    return batch;
  }

  /** The leader changed: this member's reads wait again; other members repeat their requests. */
  reset(): void {
    const back: number[] = [];
    if (this.#batch !== undefined) back.push(...this.#batch);
    for (const round of this.#rounds) back.push(...round.local);
    if (back.length > 0) this.#waiting = back.concat(this.#waiting);
    this.#batch = undefined;
    this.#rounds = [];
    this.#remote = [];
    this.assertInvariants();
  }

  assertInvariants(): void {
    const open = this.#rounds.length;
    assert(open <= this.#roundsMax, "the rounds in flight are bounded");
    assert(this.#remote.length <= this.#readsMax, "the reads of others are bounded");
    assert(open === 0 || this.#batch === undefined, "reads are in rounds or in a batch");
    const first = this.#rounds[0];
    const begins = this.#lastRound - open + 1;
    assert(first === undefined || first.number === begins, "rounds end in the order they began");
  }
}
