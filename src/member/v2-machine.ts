import { AuthState } from "../auth/state.js";
import { confChangeCommands } from "../cluster/commands.js";
import { MachineId } from "../cluster/envelope.js";
import type { MemberChange } from "../cluster/member-change.js";
import { Membership } from "../cluster/membership.js";
import { MEMBERS_PATH, REMOVED_MEMBERS_PATH } from "../cluster/paths.js";
import { assert } from "../lib/assert.js";
import type { Entry } from "../raft/entry.js";
import type { Command } from "../store/command.js";
import { decodeCommand, encodeCommand, encodedBytes } from "../store/command-codec.js";
import { Event } from "../store/event.js";
import { Refusal } from "../store/refusal.js";
import { newParentsBytes } from "../store/size.js";
import { SnapshotDecoder, SnapshotEncoder } from "../store/snapshot.js";
import type { Store, StoreOptions } from "../store/store.js";
import type { BlockSink, BlockSource, StateMachine } from "./machine.js";
import { Proposal } from "./proposals.js";

/** Heap bytes that an applied write takes beside its entry (store/size.ts). */
const NODE_BYTES = 256;
const VOID = "etcdserver: the entry had no effect";

/** A command for the v2 store. */
export abstract class V2Proposal extends Proposal {
  declare readonly command: Command;

  constructor(command: Command, startMs: number) {
    super(startMs);
    this.command = command;
  }

  get machine(): MachineId {
    return MachineId.v2Store;
  }

  get payloadBytes(): number {
    return encodedBytes(this.command);
  }

  get overheadBytes(): number {
    return NODE_BYTES + newParentsBytes(this.command.path);
  }

  writePayload(into: Buffer, view: DataView, at: number): void {
    const bytes = encodeCommand(this.command, into, view, at);
    assert(bytes === this.payloadBytes, "a command has the size that was announced");
  }

  /** @param result undefined for a command without one: a sync or a raise */
  abstract applied(result: Event | Refusal | undefined): void;
}

export interface V2MachinePorts {
  /**
   * Called before a command is applied, for the member's state outside the store.
   *
   * @param ownMs when this member proposed it, monotonic; undefined if it did not since its start
   * @returns false if the command is void; the same on all members
   */
  readonly admits: (entry: Entry, command: Command, ownMs: number | undefined) => boolean;
  /** The command as it is to be applied; the same on all members. */
  readonly dated: (command: Command) => Command;
  /** The membership may have changed. */
  readonly onMembership: () => void;
  /** Authentication may have been enabled or disabled. */
  readonly onAuth: () => void;
  /** Events are queued for watches. */
  readonly deliver: () => void;
  /** A snapshot replaced the state, and events in between are missing. */
  readonly cutWatches: () => void;
}

/**
 * Machine 0: the v2 store, which also holds the cluster's membership, in keys below /0, and users
 * and roles, below /2. Membership changes come as conf-change entries, as raft needs them, too; the
 * store's keys for them are written here.
 */
export class V2Machine implements StateMachine {
  readonly id = MachineId.v2Store;
  readonly store: Store;
  readonly #membership: Membership;
  readonly #auth: AuthState;
  readonly #options: StoreOptions;
  readonly #ports: V2MachinePorts;

  /**
   * @param membership restored from `store`, as is `auth`
   * @param options of the stores that snapshots are loaded into
   */
  constructor(
    store: Store,
    membership: Membership,
    auth: AuthState,
    options: StoreOptions,
    ports: V2MachinePorts,
  ) {
    this.store = store;
    this.#membership = membership;
    this.#auth = auth;
    this.#options = options;
    this.#ports = ports;
  }

  get stateBytes(): number {
    return this.store.treeBytes;
  }

  get outBytes(): number {
    return this.store.outBytes;
  }

  apply(entry: Entry, payloadAt: number, own: Proposal | undefined): void {
    const proposal = own instanceof V2Proposal ? own : undefined;
    assert(proposal === own, "a proposal for the v2 store is a V2Proposal");
    assert(payloadAt <= entry.data.length, "a payload lies within its entry");
    const command = proposal?.command ?? decodeCommand(entry.data, payloadAt);
    const isAdmitted = this.#ports.admits(entry, command, proposal?.startMs);
    if (!isAdmitted || !this.#membership.mayApply(command)) {
      proposal?.failed(VOID);
      return;
    }
    const { index } = this.store;
    const result = this.store.apply(this.#ports.dated(command));
    assert(this.store.index >= index, "the store's index never goes back");
    if (result instanceof Event && Membership.concerns(result.node.path)) {
      this.#membership.apply(result);
      this.#ports.onMembership();
    }
    if (result instanceof Event && AuthState.concerns(result.node.path)) {
      this.#auth.apply(result);
      this.#ports.onAuth();
    }
    proposal?.applied(result);
    this.#ports.deliver();
  }

  /**
   * A conf change that raft applied: runs its store commands at its entry's position in the log.
   */
  applyConfChange(change: MemberChange): void {
    const before = this.#membership.member(change.id);
    const isAddition = change.kind === "add" || change.kind === "addLearner";
    assert(isAddition === (before === undefined), "who is added is new, all others are members");
    for (const command of confChangeCommands(change, 0, before)) {
      const result = this.store.apply(command);
      if (!(result instanceof Event)) continue;
      assert(Membership.concerns(result.node.path), "a membership change changes its keys alone");
      this.#membership.apply(result);
    }
    const isMember = this.#membership.member(change.id) !== undefined;
    assert(isMember === (change.kind !== "remove"), "the membership reflects the change");
    this.#ports.deliver();
    this.#ports.onMembership();
  }

  /** etcd reads the membership from the store to validate a conf change, and counts these reads. */
  countMembershipReads(): void {
    if (this.store.read(MEMBERS_PATH) instanceof Refusal) return;
    this.store.read(REMOVED_MEMBERS_PATH);
  }

  encoder(blockBytes?: number): BlockSource {
    return new SnapshotEncoder(this.store, blockBytes);
  }

  decoder(): BlockSink {
    const decoder = new SnapshotDecoder(this.#options, this.store);
    return {
      push: (block) => decoder.push(block),
      finish: () => {
        const store = decoder.finish();
        return { become: () => this.#become(store) };
      },
    };
  }

  #become(store: Store): void {
    assert(store.index >= this.store.index, "a snapshot only moves the store forward");
    assert(store !== this.store, "a snapshot is loaded beside the state that it replaces");
    const isGapless = this.store.become(store);
    assert(this.store.index === store.index, "the state is the snapshot's");
    if (!isGapless) this.#ports.cutWatches();
    this.#membership.restoreFrom(this.store.cursor());
    this.#auth.restoreFrom(this.store.cursor());
    this.#ports.onAuth();
    this.#ports.deliver();
  }
}
