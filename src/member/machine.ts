import type { MachineId } from "../cluster/envelope.js";
import { assert } from "../lib/assert.js";
import type { Entry } from "../raft/entry.js";
import { SnapshotDecodeError } from "../store/snapshot.js";
import type { Proposal } from "./proposals.js";

/**
 * A replicated state machine. Several can stand on one Raft log: each entry names its machine in
 * the envelope (cluster/envelope.ts), and each block of a snapshot in its first byte
 * (`machineOfBlock`). What a machine is given is the log's, so equal entries must make equal states
 * on all members: it may look at the entry, and at nothing else, to decide what its state becomes.
 *
 * To add one: give it a number in MachineId, a class beside v2-machine.ts, proposals of a class of
 * its own (`Proposal`), and a place in the list that the member hands to `Machines`.
 */
export interface StateMachine {
  readonly id: MachineId;
  /** Heap bytes of what a snapshot holds, roughly: a log longer than that is worth a snapshot. */
  readonly stateBytes: number;
  /**
   * Heap bytes that ever left the state; only grows. A frozen view keeps what left since it was
   * taken.
   */
  readonly outBytes: number;

  /**
   * Carries out a committed entry. Entries come in the order of the log, each once.
   *
   * @param payloadAt where the machine's command begins in `entry.data`
   * @param own the proposal that the entry came from, if it was made by this process and still
   *   waits. It is of the machine's own class, holds the decoded command, and gets exactly one of
   *   `applied` and `failed`
   */
  apply(entry: Entry, payloadAt: number, own: Proposal | undefined): void;

  /**
   * Freezes the state as it is now, O(1), and encodes it in small steps while the state moves on.
   */
  encoder(): BlockSource;

  /** Builds a state from such blocks, beside the one in use and sharing memory with it. */
  decoder(): BlockSink;
}

export interface BlockSource {
  /** The next block, made in about a millisecond; undefined at the end. */
  next(): Uint8Array | undefined;
}

export interface BlockSink {
  /** @throws SnapshotDecodeError */
  push(block: Uint8Array): void;
  /** All blocks came. @throws SnapshotDecodeError where some are missing */
  finish(): LoadedState;
}

/** A state from a snapshot that the machine can take over. */
export interface LoadedState {
  /** The machine gives up its state for this one, which is ahead of it. Once. */
  become(): void;
}

/** Bits of a block's first byte that are the machine's own; those above name the machine. */
const BLOCK_KIND_BITS = 4;

/** The machine that a block of a snapshot belongs to. */
export function machineOfBlock(block: Uint8Array): number {
  return (block[0] ?? 0) >> BLOCK_KIND_BITS;
}

/** The machines of this build. Together they are what snapshots hold. */
export class Machines {
  /** By id. */
  readonly #machines: readonly StateMachine[];

  constructor(machines: readonly StateMachine[]) {
    for (const [i, { id }] of machines.entries()) assert(id === i, "machines stand at their ids");
    this.#machines = machines;
  }

  /** @param id of an envelope, whose reader throws for one that this build does not have */
  get(id: MachineId): StateMachine {
    const machine = this.#machines[id];
    assert(machine !== undefined, "the member has every machine that the build knows");
    return machine;
  }

  get stateBytes(): number {
    return this.#machines.reduce((sum, { stateBytes }) => sum + stateBytes, 0);
  }

  get outBytes(): number {
    return this.#machines.reduce((sum, { outBytes }) => sum + outBytes, 0);
  }

  /** One machine after the other; all are frozen at this moment. */
  encoder(): BlockSource {
    const encoders = this.#machines.map((machine) => machine.encoder());
    let at = 0;
    return {
      next: () => {
        for (; at < encoders.length; at++) {
          const block = encoders[at]?.next();
          if (block === undefined) continue;
          assert(machineOfBlock(block) === at, "a block names the machine that it is of");
          return block;
        }
        return undefined;
      },
    };
  }

  decoder(): BlockSink {
    const decoders = this.#machines.map((machine) => machine.decoder());
    return {
      push: (block) => {
        const decoder = decoders[machineOfBlock(block)];
        if (decoder === undefined) {
          throw new SnapshotDecodeError(`it holds state machine ${machineOfBlock(block)}`);
        }
        decoder.push(block);
      },
      finish: () => {
        const states = decoders.map((decoder) => decoder.finish());
        return {
          become: () => {
            for (const state of states) state.become();
          },
        };
      },
    };
  }
}
