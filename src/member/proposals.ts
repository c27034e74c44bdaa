import { envelopeBytes, readEnvelope, writeEnvelope } from "../cluster/envelope.js";
import type { Command } from "../store/command.js";
import { decodeCommand, encodeCommand, encodedBytes } from "../store/command-codec.js";
import { newParentsBytes } from "../store/size.js";
import type { Client } from "./replies.js";

/** Entry data are cut from blocks of this size: one allocation for hundreds of entries. */
const BLOCK_BYTES = 256 * 1024;

/** What becomes of a write takes that much beside its bytes (store/size.ts). */
const NODE_BYTES = 256;
/** More take up the room of several lives among the 2^32 that there is. */
const PROPOSALS_PER_LIFE = 2 ** 20;
/** Places of done proposals that are kept before all others move up. */
const HOLES_MAX = 1024;

/** A write this member accepted and has not answered. */
export interface Proposal {
  readonly command: Command;
  /** Undefined for the member's own. */
  readonly client: Client | undefined;
  readonly noValueOnSuccess: boolean;
  readonly startMs: number;
}

/** A proposal with what it is found by. */
export interface OpenProposal {
  readonly number: number;
  readonly data: Uint8Array;
  readonly proposal: Proposal;
  /**
   * The term of the only log entry that it can become: once a later one is applied, it is lost. 0 while it
   * was handed to nobody, infinite where that cannot be known.
   */
  term: number;
}

/** Writes on their way through the log, found again when they are applied. */
export class Proposals {
  readonly #origin: bigint;
  /** Ascending numbers, with holes; what is before #head is done, and at #head is the oldest, if any. */
  readonly #open: (OpenProposal | undefined)[] = [];
  #head = 0;
  #size = 0;
  #openBytes = 0;
  #lastNumber: number;
  #block = Buffer.alloc(0);
  #blockView = new DataView(this.#block.buffer);
  #used = 0;
  #format = 1;

  /** @param firstNumber far from those of any earlier life of this member */
  constructor(origin: bigint, firstNumber: number) {
    this.#origin = origin;
    this.#lastNumber = firstNumber;
  }

  /** Of what is proposed from now on: 1 or 2. */
  set format(format: number) {
    this.#format = format;
  }

  get size(): number {
    return this.#size;
  }

  /** What the open ones take, or will, once they are applied. */
  get openBytes(): number {
    return this.#openBytes;
  }

  /** @returns the entry's data, and the proposal's number for `get` and `drop` */
  add(proposal: Proposal): OpenProposal {
    const number = ++this.#lastNumber;
    const envelope = envelopeBytes(this.#format);
    const bytes = envelope + encodedBytes(proposal.command);
    const at = this.#take(bytes);
    const view = this.#blockView;
    writeEnvelope(view, at, this.#format, this.#origin, number);
    encodeCommand(proposal.command, this.#block, view, at + envelope);
    const { buffer, byteOffset } = this.#block;
    const open = {
      number,
      data: new Uint8Array(buffer, byteOffset + at, bytes),
      proposal,
      term: 0,
    };
    this.#open.push(open);
    this.#size++;
    this.#openBytes += bytes + NODE_BYTES + newParentsBytes(proposal.command.path);
    return open;
  }

  /** The lowest number that is open, or would be the next. */
  get oldest(): number {
    return this.#open[this.#head]?.number ?? this.#lastNumber + 1;
  }

  /** In the order of their numbers. */
  all(): OpenProposal[] {
    return this.#open.slice(this.#head).filter((open) => open !== undefined);
  }

  get(number: number): Proposal | undefined {
    return this.#open[this.#find(number)]?.proposal;
  }

  drop(number: number): void {
    this.#remove(this.#find(number));
  }

  /** The command of a committed entry, and the proposal if it was made here and still waits. */
  take(data: Uint8Array): { command: Command; proposal: Proposal | undefined } {
    const oldest = this.#open[this.#head];
    // Nearly always: this member leads, and entries come back in the order they went in.
    if (oldest !== undefined && oldest.data === data) {
      this.#remove(this.#head);
      return { command: oldest.proposal.command, proposal: oldest.proposal };
    }
    const { origin, number, commandAt } = readEnvelope(data);
    if (origin === this.#origin) {
      const at = this.#find(number);
      const proposal = this.#open[at]?.proposal;
      this.#remove(at);
      if (proposal !== undefined) return { command: proposal.command, proposal };
    }
    return { command: decodeCommand(data, commandAt), proposal: undefined };
  }

  /** Takes out those that have waited since before `startMs`. */
  takeOlderThan(startMs: number): Proposal[] {
    const taken: Proposal[] = [];
    for (let oldest = this.#open[this.#head]; oldest !== undefined; ) {
      if (oldest.proposal.startMs > startMs) break;
      taken.push(oldest.proposal);
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
    const parents = newParentsBytes(open.proposal.command.path);
    this.#openBytes -= open.data.length + NODE_BYTES + parents;
    this.#open[at] = undefined;
    this.#size--;
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
 * Where a life of this member begins to number its proposals. An entry of an earlier life that is committed
 * in this one must not pass for one of this life's: it would be applied as another command than everywhere
 * else. So lives are far apart, by lot and not by the clock, as a machine may be set back in time, and one
 * without a clock of its own starts at the same second every time.
 */
export function firstNumber(random: (below: number) => number): number {
  return random(2 ** 32) * PROPOSALS_PER_LIFE;
}
