import type { Command } from "../store/command.js";
import { decodeCommand, encodeCommand, encodedBytes } from "../store/command-codec.js";
import type { Client } from "./client-port.js";

/**
 * Data of a normal log entry. Little-endian.
 *
 *   offset  bytes  field
 *   0       8      id of the member that proposed it
 *   8       8      that member's number for the proposal, f64
 *   16      n      encoded command
 */
const ENVELOPE_BYTES = 16;
/** Entry data are cut from blocks of this size: one allocation for hundreds of entries. */
const BLOCK_BYTES = 256 * 1024;

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
  #lastNumber: number;
  #block = Buffer.alloc(0);
  #blockView = new DataView(this.#block.buffer);
  #used = 0;

  /** @param firstNumber far from those of any earlier life of this member */
  constructor(origin: bigint, firstNumber: number) {
    this.#origin = origin;
    this.#lastNumber = firstNumber;
  }

  get size(): number {
    return this.#size;
  }

  /** @returns the entry's data, and the proposal's number for `get` and `drop` */
  add(proposal: Proposal): OpenProposal {
    const number = ++this.#lastNumber;
    const bytes = ENVELOPE_BYTES + encodedBytes(proposal.command);
    const at = this.#take(bytes);
    const view = this.#blockView;
    view.setBigUint64(at, this.#origin, true);
    view.setFloat64(at + 8, number, true);
    encodeCommand(proposal.command, this.#block, view, at + ENVELOPE_BYTES);
    const { buffer, byteOffset } = this.#block;
    const open = {
      number,
      data: new Uint8Array(buffer, byteOffset + at, bytes),
      proposal,
      term: 0,
    };
    this.#open.push(open);
    this.#size++;
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
    const view = new DataView(data.buffer, data.byteOffset, ENVELOPE_BYTES);
    if (view.getBigUint64(0, true) === this.#origin) {
      const at = this.#find(view.getFloat64(8, true));
      const proposal = this.#open[at]?.proposal;
      this.#remove(at);
      if (proposal !== undefined) return { command: proposal.command, proposal };
    }
    return { command: decodeCommand(data, ENVELOPE_BYTES), proposal: undefined };
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
    if (this.#open[at] === undefined) return;
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
