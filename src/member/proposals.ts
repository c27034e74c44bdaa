import {
  type Envelope,
  envelopeBytes,
  type MachineId,
  writeEnvelope,
} from "../cluster/envelope.js";
import { assert } from "../lib/assert.js";

/**
 * Size of the blocks that entry data are carved from: one allocation serves hundreds of entries.
 */
const BLOCK_BYTES = 256 * 1024;
/** Between equally aligned places V8 copies words: 300 bytes to a ring take 28 ns instead of 95. */
const ENTRY_ALIGN_BYTES = 8;

/** Numbers reserved for one incarnation; issuing more would overlap another incarnation's range. */
const PROPOSALS_PER_INCARNATION = 2 ** 20;
/** Slots of finished proposals kept at the front before the array is compacted. */
const HOLES_MAX = 1024;
const NO_DATA = new Uint8Array(0);

/**
 * A future log entry: a payload for one state machine, and two callbacks for its maker. Exactly one
 * of them is called, once: `applied`, which each machine declares on its own class of proposals
 * with its own result type, or `failed`.
 *
 * One object serves a write all the way through the log, with methods instead of closures: a PUT
 * allocates no other. Fields are only `declare`d and set once in the constructors, as class fields
 * would first be defined as undefined.
 */
export abstract class Proposal {
  abstract get machine(): MachineId;
  abstract get payloadBytes(): number;
  /**
   * Upper bound of the heap bytes the applied command takes in the machine's state, beyond the
   * entry's bytes.
   */
  abstract get overheadBytes(): number;
  /**
   * Whether it is proposed again after it was lost with a leader. False if its maker repeats it
   * anyway, or if it would be wrong when late.
   */
  abstract get isRetried(): boolean;
  /** Monotonic, milliseconds. */
  declare readonly startMs: number;

  // Set by `Proposals` in `add` and later.

  /** 0 before `add`. */
  declare number: number;
  /** The entry's data: envelope and payload. */
  declare data: Uint8Array;
  /** Offset of the payload in `data`. */
  declare payloadAt: number;
  /** Bytes reserved for it: its entry and its share of the state. */
  declare takenBytes: number;
  /**
   * Term of the only entry it can become; once an entry of a later term is applied without it, it
   * is lost. 0 until it was passed to a leader, infinite if the term cannot be known.
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

  /** It was not applied, and may still be later. @param reason etcd's error text */
  abstract failed(reason: string): void;
}

/** Proposals in flight, looked up by number when their entries are applied. */
export class Proposals {
  readonly #origin: bigint;
  /**
   * Ascending by number; undefined where finished. All before #head are finished; the oldest open
   * one is at #head.
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
    assert(origin > 0n, "a member's id is not 0");
    assert(Number.isSafeInteger(firstNumber) && firstNumber >= 0, "numbers are safe integers");
    this.#origin = origin;
    this.#lastNumber = firstNumber;
  }

  /** Envelope format of new proposals: 1 or 2. */
  set format(format: number) {
    assert(format >= this.#format, "a format level never falls");
    this.#format = format;
  }

  get size(): number {
    return this.#size;
  }

  /** Sum of `takenBytes` of the open proposals. */
  get openBytes(): number {
    return this.#openBytes;
  }

  /** Bytes of the open proposals' entries, including envelopes. */
  get dataBytes(): number {
    return this.#dataBytes;
  }

  /** Assigns a number and encodes the entry's data. */
  add(proposal: Proposal): void {
    assert(proposal.number === 0, "a proposal is added once");
    const number = ++this.#lastNumber;
    const envelope = envelopeBytes(this.#format);
    const bytes = envelope + proposal.payloadBytes;
    assert(bytes > envelope, "a proposal has a payload");
    assert(number <= Number.MAX_SAFE_INTEGER, "numbers are safe integers");
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
    this.#assertInvariants();
  }

  /** The lowest open number, or the next one if none is open. */
  get oldest(): number {
    return this.#open[this.#head]?.number ?? this.#lastNumber + 1;
  }

  /** Ascending by number. */
  all(): Proposal[] {
    return this.#open.slice(this.#head).filter((open) => open !== undefined);
  }

  has({ number }: Proposal): boolean {
    return this.#find(number) >= 0;
  }

  drop({ number }: Proposal): void {
    assert(this.#find(number) >= 0, "a proposal that is dropped is open");
    this.#remove(this.#find(number));
  }

  /**
   * Removes and returns the oldest proposal if the committed entry is its own. The common case on a
   * leader: entries come back in the order proposed, as the very same array.
   */
  takeIfOldest(data: Uint8Array): Proposal | undefined {
    const oldest = this.#open[this.#head];
    if (oldest === undefined || oldest.data !== data) return undefined;
    this.#remove(this.#head);
    return oldest;
  }

  /**
   * Removes and returns the proposal of a committed entry with this envelope.
   *
   * @returns undefined if another member or an earlier incarnation proposed it, or it timed out
   */
  takeOf({ origin, number }: Envelope): Proposal | undefined {
    // None is open while a log is applied again; and a slot -1 would be looked up as a name.
    if (origin !== this.#origin || this.#size === 0) return undefined;
    const at = this.#find(number);
    if (at < 0) return undefined;
    const proposal = this.#open[at];
    this.#remove(at);
    return proposal;
  }

  /** Removes and returns proposals started at or before `startMs`. */
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

  /** Position of the open proposal with this number in `#open`, or -1. */
  #find(number: number): number {
    // Numbers are consecutive, so the distance to the newest number is the distance in the array.
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
    assert(this.#size > 0 || this.#openBytes + this.#dataBytes === 0, "no bytes without proposals");
    while (this.#head < this.#open.length && this.#open[this.#head] === undefined) this.#head++;
    this.#assertInvariants();
    if (this.#head < HOLES_MAX || this.#head * 2 < this.#open.length) return;
    this.#open.splice(0, this.#head);
    this.#head = 0;
  }

  /** Carves `bytes` from the current block, or from a new one. @returns their offset in `#block` */
  #take(bytes: number): number {
    if (this.#used + bytes > this.#block.length) {
      this.#block = Buffer.allocUnsafeSlow(Math.max(BLOCK_BYTES, bytes));
      this.#blockView = new DataView(this.#block.buffer);
      this.#used = 0;
    }
    const at = this.#used;
    assert(at + bytes <= this.#block.length, "an entry lies within its block");
    this.#used = (at + bytes + ENTRY_ALIGN_BYTES - 1) & -ENTRY_ALIGN_BYTES;
    return at;
  }

  /** Called for each proposal: a few integers. */
  #assertInvariants(): void {
    const slots = this.#open.length - this.#head;
    assert(this.#size >= 0 && this.#size <= slots, "each open proposal has a slot");
    assert(this.#size > 0 || slots === 0, "without open proposals the head is at the end");
    assert(this.#dataBytes >= 0, "a proposal's bytes are counted once");
    assert(this.#dataBytes <= this.#openBytes, "a proposal takes its entry's bytes at least");
  }
}

/**
 * The first proposal number of this incarnation. An entry of an earlier incarnation may be
 * committed during this one; mistaken for one of ours, it would be applied here as another command
 * than on other members. So the ranges are drawn at random, far apart. The clock would not do: it
 * may be set back, and machines without a battery boot at the same second every time.
 */
export function firstNumber(random: (below: number) => number): number {
  const incarnation = random(2 ** 32);
  assert(incarnation >= 0 && incarnation < 2 ** 32, "a random number is below its limit");
  return incarnation * PROPOSALS_PER_INCARNATION;
}
