import {
  type Envelope,
  envelopeBytes,
  type MachineId,
  writeEnvelope,
} from "../cluster/envelope.js";
import { assert } from "../lib/assert.js";

/** Entry data are cut from blocks of this size: one allocation for hundreds of entries. */
const BLOCK_BYTES = 256 * 1024;

/** Numbers reserved for one incarnation; issuing more would overlap another incarnation's range. */
const PROPOSALS_PER_INCARNATION = 2 ** 20;
/** Places of done proposals that are kept before all others move up. */
const HOLES_MAX = 1024;
const NO_DATA = new Uint8Array(0);

/**
 * Something that is to become a log entry: a payload for one state machine, and two methods by
 * which whoever made it hears what came of it. Exactly one of them is called, once: `applied`,
 * which each machine declares for its own class of proposals with the result it has, or `failed`.
 *
 * One object for all of a write's way through the log, and methods instead of closures: a PUT makes
 * no other. Its fields are declared only, and set once in the constructors: each would else be
 * defined before it is set.
 */
export abstract class Proposal {
  abstract get machine(): MachineId;
  abstract get payloadBytes(): number;
  /** What the machine's state takes beside the bytes of the entry, at most, once it is applied. */
  abstract get overheadBytes(): number;
  /**
   * Whether it is proposed anew when it got lost with a leader. Not where its maker repeats it
   * anyway, or where coming late would make it wrong.
   */
  abstract get isRetried(): boolean;
  /** By a clock that never jumps. */
  declare readonly startMs: number;

  // What `Proposals` keeps of it from `add` on.

  /** 0 before that. */
  declare number: number;
  /** Of the entry: envelope and payload. */
  declare data: Uint8Array;
  /** Where in `data` the payload begins. */
  declare payloadAt: number;
  /** What it takes, or will once it is applied. */
  declare takenBytes: number;
  /**
   * The term of the only log entry that it can become: once a later one is applied, it is lost. 0
   * while it was handed to nobody, infinite where that cannot be known.
   */
  declare term: number;

  constructor(startMs: number) {
    this.startMs = startMs;
    this.number = 0;
    this.data = NO_DATA;
    this.payloadAt = 0;
    this.takenBytes = 0;
    this.term = 0;
  }

  /** Writes `payloadBytes` bytes. @param view of `into` */
  abstract writePayload(into: Buffer, view: DataView, at: number): void;

  /** It was not applied, and may or may not be later. @param reason in etcd's words */
  abstract failed(reason: string): void;
}

/** Proposals on their way through the log, found again when they are applied. */
export class Proposals {
  readonly #origin: bigint;
  /**
   * Ascending numbers, with holes; what is before #head is done, and at #head is the oldest, if
   * any.
   */
  readonly #open: (Proposal | undefined)[] = [];
  #head = 0;
  #size = 0;
  #openBytes = 0;
  #dataBytes = 0;
  #lastNumber: number;
  #block = Buffer.alloc(0);
  #blockView = new DataView(this.#block.buffer);
  #used = 0;
  #format = 1;

  /** @param firstNumber far from those of any earlier incarnation of this member */
  constructor(origin: bigint, firstNumber: number) {
    this.#origin = origin;
    this.#lastNumber = firstNumber;
  }

  /** Of what is proposed from now on: 1 or 2. */
  set format(format: number) {
    assert(format >= this.#format, "a format level never falls");
    this.#format = format;
  }

  get size(): number {
    return this.#size;
  }

  /** What the open ones take, or will, once they are applied. */
  get openBytes(): number {
    return this.#openBytes;
  }

  /** Of the open ones' entries, envelopes included. */
  get dataBytes(): number {
    return this.#dataBytes;
  }

  /** Gives it a number and the data of its entry. */
  add(proposal: Proposal): void {
    assert(proposal.number === 0, "a proposal is made once");
    const number = ++this.#lastNumber;
    const envelope = envelopeBytes(this.#format);
    const bytes = envelope + proposal.payloadBytes;
    const at = this.#take(bytes);
    const view = this.#blockView;
    writeEnvelope(view, at, this.#format, proposal.machine, this.#origin, number);
    proposal.writePayload(this.#block, view, at + envelope);
    const { buffer, byteOffset } = this.#block;
    proposal.number = number;
    proposal.data = new Uint8Array(buffer, byteOffset + at, bytes);
    proposal.payloadAt = envelope;
    proposal.takenBytes = bytes + proposal.overheadBytes;
    this.#open.push(proposal);
    this.#size++;
    this.#openBytes += proposal.takenBytes;
    this.#dataBytes += bytes;
  }

  /** The lowest number that is open, or would be the next. */
  get oldest(): number {
    return this.#open[this.#head]?.number ?? this.#lastNumber + 1;
  }

  /** In the order of their numbers. */
  all(): Proposal[] {
    return this.#open.slice(this.#head).filter((open) => open !== undefined);
  }

  has({ number }: Proposal): boolean {
    return this.#find(number) >= 0;
  }

  drop({ number }: Proposal): void {
    this.#remove(this.#find(number));
  }

  /**
   * Removes and returns the oldest proposal if a committed entry came from it. Nearly all do: this
   * member leads, and entries come back in the order they went in, as the very same bytes.
   */
  takeIfOldest(data: Uint8Array): Proposal | undefined {
    const oldest = this.#open[this.#head];
    if (oldest === undefined || oldest.data !== data) return undefined;
    this.#remove(this.#head);
    return oldest;
  }

  /**
   * Removes and returns the proposal that a committed entry with this envelope came from.
   *
   * @returns undefined if another member made it, an earlier incarnation, or nobody waits for it
   *   any more
   */
  takeOf({ origin, number }: Envelope): Proposal | undefined {
    if (origin !== this.#origin) return undefined;
    const at = this.#find(number);
    const proposal = this.#open[at];
    this.#remove(at);
    return proposal;
  }

  /** Removes and returns those that have waited since before `startMs`. */
  takeOlderThan(startMs: number): Proposal[] {
    const taken: Proposal[] = [];
    for (let oldest = this.#open[this.#head]; oldest !== undefined; ) {
      if (oldest.startMs > startMs) break;
      taken.push(oldest);
      this.#remove(this.#head);
      oldest = this.#open[this.#head];
    }
    return taken;
  }

  /** Where the open proposal with this number is; -1 if there is none. */
  #find(number: number): number {
    // Numbers are handed out one by one, so the distance to the newest is that of the places.
    const at = this.#open.length - 1 - (this.#lastNumber - number);
    return at >= this.#head && this.#open[at]?.number === number ? at : -1;
  }

  #remove(at: number): void {
    const open = this.#open[at];
    if (open === undefined) return;
    this.#openBytes -= open.takenBytes;
    this.#dataBytes -= open.data.length;
    this.#open[at] = undefined;
    this.#size--;
    assert(this.#size > 0 || this.#openBytes + this.#dataBytes === 0, "no proposals, no bytes");
    while (this.#head < this.#open.length && this.#open[this.#head] === undefined) this.#head++;
    if (this.#head < HOLES_MAX || this.#head * 2 < this.#open.length) return;
    this.#open.splice(0, this.#head);
    this.#head = 0;
  }

  #take(bytes: number): number {
    if (this.#used + bytes > this.#block.length) {
      this.#block = Buffer.allocUnsafeSlow(Math.max(BLOCK_BYTES, bytes));
      this.#blockView = new DataView(this.#block.buffer);
      this.#used = 0;
    }
    const at = this.#used;
    this.#used += bytes;
    return at;
  }
}

/**
 * Where an incarnation of this member begins to number its proposals. An entry of an earlier
 * incarnation that is committed in this one must not pass for one of this one's: it would be
 * applied as another command than everywhere else. So they are far apart, by lot and not by the
 * clock, as a machine may be set back in time, and one without a clock of its own starts at the
 * same second every time.
 */
export function firstNumber(random: (below: number) => number): number {
  return random(2 ** 32) * PROPOSALS_PER_INCARNATION;
}
