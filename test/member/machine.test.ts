import assert from "node:assert/strict";
import { test } from "node:test";
import type { MachineId } from "#ringd/cluster/envelope.js";
import {
  type BlockSink,
  type BlockSource,
  Machines,
  type StateMachine,
} from "#ringd/member/machine.js";
import { type Entry, EntryType } from "#ringd/raft/entry.js";
import { SnapshotDecodeError } from "#ringd/store/snapshot.js";

/** A machine whose state is its applied bytes; in a snapshot each is a block. */
class ByteMachine implements StateMachine {
  readonly id: MachineId;
  outBytes = 0;
  state: number[] = [];

  constructor(id: number) {
    this.id = id as MachineId; // A later build may have more.
  }

  get stateBytes(): number {
    return this.state.length;
  }

  apply({ data }: Entry, payloadAt: number): void {
    this.state.push(data[payloadAt] ?? 0);
  }

  encoder(): BlockSource {
    const bytes = [...this.state];
    return {
      next: () => {
        const byte = bytes.shift();
        return byte === undefined ? undefined : Uint8Array.of((this.id << 4) | 1, byte);
      },
    };
  }

  decoder(): BlockSink {
    const bytes: number[] = [];
    return {
      push: (block) => bytes.push(block[1] ?? 0),
      finish: () => ({
        become: () => {
          this.state = bytes;
        },
      }),
    };
  }
}

function twoMachines(): { machines: Machines; first: ByteMachine; second: ByteMachine } {
  const [first, second] = [new ByteMachine(0), new ByteMachine(1)];
  return { machines: new Machines([first, second]), first, second };
}

function entry(index: number, payload: number): Entry {
  return { index, term: 1, type: EntryType.normal, data: Uint8Array.of(0, payload) };
}

test("two machines share one log, and one snapshot", () => {
  const { machines, first, second } = twoMachines();
  for (const [machine, payload] of [
    [0, 5],
    [1, 6],
    [0, 7],
  ] as const) {
    machines.get(machine as MachineId).apply(entry(1, payload), 1, undefined);
  }
  assert.deepEqual([first.state, second.state], [[5, 7], [6]]);
  assert.equal(machines.stateBytes, 3);
  const source = machines.encoder();
  machines.get(0).apply(entry(4, 8), 1, undefined); // After the start of the snapshot.
  const other = twoMachines();
  other.first.state = [1];
  const sink = other.machines.decoder();
  for (let block = source.next(); block !== undefined; block = source.next()) sink.push(block);
  const loaded = sink.finish();
  assert.deepEqual(other.first.state, [1], "nothing changes before the state is taken over");
  loaded.become();
  assert.deepEqual([other.first.state, other.second.state], [[5, 7], [6]]);
});

test("a block of an unknown machine is rejected", () => {
  const sink = twoMachines().machines.decoder();
  assert.throws(() => sink.push(Uint8Array.of(0x21, 0)), SnapshotDecodeError);
});
