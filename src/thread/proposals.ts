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

/** A write this member accepted and has not answered. */
export interface Proposal {
  readonly command: Command;
  /** Undefined for the member's own. */
  readonly client: Client | undefined;
  readonly noValueOnSuccess: boolean;
  readonly startMs: number;
}

/** Writes on their way through the log, found again when they are applied. */
export class Proposals {
  readonly #origin: bigint;
  /** Oldest first. */
  readonly #open = new Map<number, Proposal>();
  #lastNumber: number;
  #block = Buffer.alloc(0);
  #blockView = new DataView(this.#block.buffer);
  #used = 0;

  /** @param firstNumber above every one used in an earlier life of this member */
  constructor(origin: bigint, firstNumber: number) {
    this.#origin = origin;
    this.#lastNumber = firstNumber;
  }

  get size(): number {
    return this.#open.size;
  }

  /** @returns the entry's data, and the proposal's number for `drop` */
  add(proposal: Proposal): { data: Uint8Array; number: number } {
    const number = ++this.#lastNumber;
    const bytes = ENVELOPE_BYTES + encodedBytes(proposal.command);
    const at = this.#take(bytes);
    const view = this.#blockView;
    view.setBigUint64(at, this.#origin, true);
    view.setFloat64(at + 8, number, true);
    encodeCommand(proposal.command, this.#block, view, at + ENVELOPE_BYTES);
    this.#open.set(number, proposal);
    const { buffer, byteOffset } = this.#block;
    return { data: new Uint8Array(buffer, byteOffset + at, bytes), number };
  }

  get(number: number): Proposal | undefined {
    return this.#open.get(number);
  }

  drop(number: number): void {
    this.#open.delete(number);
  }

  /** The command of a committed entry, and the proposal if it was made here and still waits. */
  take(data: Uint8Array): { command: Command; proposal: Proposal | undefined } {
    const view = new DataView(data.buffer, data.byteOffset, ENVELOPE_BYTES);
    if (view.getBigUint64(0, true) === this.#origin) {
      const number = view.getFloat64(8, true);
      const proposal = this.#open.get(number);
      if (proposal !== undefined) {
        this.#open.delete(number);
        return { command: proposal.command, proposal };
      }
    }
    return { command: decodeCommand(data, ENVELOPE_BYTES), proposal: undefined };
  }

  /** Takes out those that have waited since before `startMs`. */
  takeOlderThan(startMs: number): Proposal[] {
    const taken: Proposal[] = [];
    for (const [number, proposal] of this.#open) {
      if (proposal.startMs > startMs) break;
      this.#open.delete(number);
      taken.push(proposal);
    }
    return taken;
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
