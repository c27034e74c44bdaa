import { MachineId } from "#ringd/cluster/envelope.js";
import type { Machines } from "#ringd/member/machine.js";
import { Snapshots } from "#ringd/member/snapshots.js";
import { V2Machine } from "#ringd/member/v2-machine.js";
import type { SnapshotMeta } from "#ringd/raft/entry.js";
import { Raft, type Ready } from "#ringd/raft/raft.js";
import type { Event } from "#ringd/store/event.js";
import { History } from "#ringd/store/history.js";
import type { Store } from "#ringd/store/store.js";

/** Observes members for the checks, without their knowledge. */
export interface ProbeListener {
  /** A raft hands out work. All earlier work has been carried out. */
  onReady(raft: Raft, ready: Ready | undefined): void;
  /** A store, or one being restored from a snapshot, applies a change. */
  onEvent(event: Event): void;
  /** A snapshot of `store` begins. */
  onSnapshot(store: Store, meta: SnapshotMeta): void;
}

let listener: ProbeListener | undefined;

/** @returns undo */
export function listen(next: ProbeListener): () => void {
  const before = listener;
  listener = next;
  return () => {
    listener = before;
  };
}

// Once per process: the simulation's members are distinguished by whose turn it is.
const { ready } = Raft.prototype;
Raft.prototype.ready = function (this: Raft) {
  const result = ready.call(this);
  listener?.onReady(this, result);
  return result;
};

const { push } = History.prototype;
History.prototype.push = function (this: History, event: Event, isNodeOnlyHere: boolean) {
  push.call(this, event, isNodeOnlyHere);
  listener?.onEvent(event);
};

const { start } = Snapshots.prototype;
Snapshots.prototype.start = function (this: Snapshots, machines: Machines, meta, file) {
  start.call(this, machines, meta, file);
  const v2 = machines.get(MachineId.v2Store);
  if (v2 instanceof V2Machine) listener?.onSnapshot(v2.store, meta);
};
