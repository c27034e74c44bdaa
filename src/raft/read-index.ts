import { assert } from "../lib/assert.js";

/** A read may be answered once the store contains everything up to `index`. */
export interface ReadState {
  readonly ctx: number;
  readonly index: number;
}

/** A follower's batch of reads that this leader looks after. */
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
 * every write acknowledged before the read was asked for. The leader's commit index will do, if it
 * is still the leader after the read was asked for: a majority must answer a heartbeat sent since.
 *
 * Reads share rounds of heartbeats. A round's number rides on the heartbeats and comes back; who
 * answers a round confirms all earlier ones. A follower's reads go to the leader in batches, one at
 * a time, each asked for again until it is answered. When a leader is lost, nothing is: the reads
 * wait for the next one, and the shell gives up on them when it likes.
 */
export class ReadIndexes {
  readonly #readsMax: number;
  readonly #roundsMax: number;
  /** Asked here, not yet part of a round or batch. */
  #waiting: number[] = [];
  #remote: RemoteRead[] = [];
  /** Leader: rounds that are out, oldest first. */
  #rounds: Round[] = [];
  #lastRound = 0;
  /** Follower: the batch the leader is being asked about. */
  #batch: readonly number[] | undefined;
  #request: number;

  /**
   * @param readsMax reads waiting at once, beyond that they are refused
   * @param roundsMax rounds out at once
   * @param firstRequest random and well below 2^53, so that no answer to an earlier life of this
   *   member, delayed in the network, is taken for one to this life
   */
  constructor(readsMax: number, roundsMax: number, firstRequest: number) {
    assert(readsMax > 0 && roundsMax > 0, "some reads may wait");
    this.#readsMax = readsMax;
    this.#roundsMax = roundsMax;
    this.#request = firstRequest;
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

  /**
   * A batch asked for twice is kept twice and answered twice: harmless, and cheaper than looking.
   */
  addRemote(read: RemoteRead): void {
    if (this.#remote.length < this.#readsMax) this.#remote.push(read);
  }

  hasWaiting(): boolean {
    return this.#waiting.length > 0 || this.#remote.length > 0;
  }

  canStartRound(): boolean {
    return this.hasWaiting() && this.#rounds.length < this.#roundsMax;
  }

  /** Leader: everything that waits becomes a round. The caller sends heartbeats with its number. */
  startRound(commit: number): void {
    assert(this.canStartRound(), "there are reads for a round");
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

  /** Leader: a majority has answered round `number`, and with it all before. */
  confirm(number: number): readonly ConfirmedRound[] {
    assert(number <= this.#lastRound, "a round that is confirmed has begun");
    let count = 0;
    while (count < this.#rounds.length && (this.#rounds[count] as Round).number <= number) count++;
    return count === 0 ? [] : this.#rounds.splice(0, count);
  }

  /** Follower: whether a new batch can be asked for. */
  canStartBatch(): boolean {
    return this.#batch === undefined && this.#waiting.length > 0;
  }

  startBatch(): void {
    assert(this.canStartBatch(), "there are reads for a batch");
    this.#batch = this.#waiting;
    this.#waiting = [];
    this.#request++;
  }

  /** Follower: the number to ask the leader with, if a batch is out. */
  get openRequest(): number | undefined {
    return this.#batch === undefined ? undefined : this.#request;
  }

  /** Follower: the reads that an answer is for; none if it comes late. */
  answered(request: number): readonly number[] {
    if (this.#batch === undefined || request !== this.#request) return [];
    const batch = this.#batch;
    this.#batch = undefined;
    return batch;
  }

  /** Another leader: what was asked here waits again, what others asked they will ask again. */
  reset(): void {
    const back: number[] = [];
    if (this.#batch !== undefined) back.push(...this.#batch);
    for (const round of this.#rounds) back.push(...round.local);
    if (back.length > 0) this.#waiting = back.concat(this.#waiting);
    this.#batch = undefined;
    this.#rounds = [];
    this.#remote = [];
  }
}
