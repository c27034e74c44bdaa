import type { MachineId } from "../cluster/envelope.js";
import { assert } from "../lib/assert.js";
import type { Entry } from "../raft/entry.js";
import { SnapshotDecodeError } from "../store/snapshot.js";
import type { Proposal } from "./proposals.js";

/**
 * A replicated state machine. Several share one Raft log: each entry names its machine in the
 * envelope (cluster/envelope.ts), and each snapshot block in its first byte (`machineOfBlock`).
 * Equal entries must produce equal states on all members, so the next state may depend only on the
 * state and the entry, never on a clock or randomness.
 *
 * To add one: give it a number in MachineId, a class beside v2-machine.ts, its own subclass of
 * `Proposal`, and a place in the list that the member passes to `Machines`.
 */
export interface StateMachine {
  readonly id: MachineId;
  /** Approximate heap bytes of the state. A log longer than this is worth a snapshot. */
  readonly stateBytes: number;
  /**
   * Heap bytes that ever left the state; only grows. A frozen view keeps alive all that left since
   * it was taken.
   */
  readonly outBytes: number;

  /**
   * Applies a committed entry. Entries come in log order, each exactly once.
   *
   * @param payloadAt where the machine's command begins in `entry.data`
   * @param own the entry's proposal, if this process made it and it is still pending. It has the
   *   machine's own class, holds the decoded command, and gets exactly one call of `applied` or
   *   `failed`
   */
  apply(entry: Entry, payloadAt: number, own: Proposal | undefined): void;

  /**
   * Freezes the current state in O(1) and encodes it in small steps while the state keeps changing.
   *
   * @param blockBytes size of a block; a large one unless it is given
   */
  encoder(blockBytes?: number): BlockSource;

  /** Builds a state from such blocks beside the current one, sharing memory with it. */
  decoder(): BlockSink;
}

export interface BlockSource {
  /** The next block, which takes about a millisecond; undefined at the end. */
  next(): Uint8Array | undefined;
}

export interface BlockSink {
  /** @throws SnapshotDecodeError */
  push(block: Uint8Array): void;
  /** All blocks were pushed. @throws SnapshotDecodeError if some are missing */
  finish(): LoadedState;
}

/** A state loaded from a snapshot, ready to replace the machine's. */
export interface LoadedState {
  /** Replaces the machine's state, which must be older. Call at most once. */
  become(): void;
}

/** Low bits of a block's first byte, for the machine's own use; the high bits name the machine. */
const BLOCK_KIND_BITS = 4;

/** The machine that a block of a snapshot belongs to. */
export function machineOfBlock(block: Uint8Array): number {
  return (block[0] ?? 0) >> BLOCK_KIND_BITS;
}

/** The state machines of this build. A snapshot holds all of them. */
export class Machines {
  /** By id. */
  readonly #machines: readonly StateMachine[];

  constructor(machines: readonly StateMachine[]) {
    assert(machines.length > 0, "a member has a state machine");
    for (const [i, { id }] of machines.entries())
      assert(id === i, "each machine stands at the index of its id");
    this.#machines = machines;
  }

  /** @param id from an envelope, whose reader throws for ids unknown to this build */
  get(id: MachineId): StateMachine {
    const machine = this.#machines[id];
    assert(machine !== undefined, "the member has every machine of this build");
    return machine;
  }

  get stateBytes(): number {
    return this.#machines.reduce((sum, { stateBytes }) => sum + stateBytes, 0);
  }

  get outBytes(): number {
    return this.#machines.reduce((sum, { outBytes }) => sum + outBytes, 0);
  }

  /** One machine after the other; all are frozen at this moment. */
  encoder(blockBytes?: number): BlockSource {
    const encoders = this.#machines.map((machine) => machine.encoder(blockBytes));
    let at = 0;
    return {
      next: () => {
        for (; at < encoders.length; at++) {
          const block = encoders[at]?.next();
          if (block === undefined) continue;
          assert(machineOfBlock(block) === at, "a block names its machine");
          return block;
        }
        return undefined;
      },
    };
  }

  decoder(): BlockSink {
    const decoders = this.#machines.map((machine) => machine.decoder());
    let isFinished = false;
    let isReplaced = false;
    return {
      push: (block) => {
        assert(!isFinished, "the blocks of a snapshot come before its end");
        const decoder = decoders[machineOfBlock(block)];
        if (decoder === undefined) {
          throw new SnapshotDecodeError(`unknown state machine ${machineOfBlock(block)}`);
        }
        decoder.push(block);
      },
      finish: () => {
        assert(!isFinished, "a snapshot ends once");
        isFinished = true;
        const states = decoders.map((decoder) => decoder.finish());
        assert(states.length === this.#machines.length, "a snapshot holds every machine");
        return {
          become: () => {
            assert(!isReplaced, "a loaded state replaces the machines' once");
            isReplaced = true;
            for (const state of states) state.become();
          },
        };
      },
    };
  }
}
