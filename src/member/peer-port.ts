import type { StartMember } from "../bootstrap/start-plan.js";
import { formatId } from "../cluster/ids.js";
import type { Member as ClusterMember, Membership } from "../cluster/membership.js";
import type { Connectivity } from "../cluster/rules.js";
import { assert } from "../lib/assert.js";
import { OutboxType, type PeerMember, type PeerMembers } from "../messages/peers.js";
import { NONE } from "../raft/entry.js";
import type { Message } from "../raft/message.js";
import { encodeMessageInto, messageBytes } from "../raft/message-codec.js";
import type { Outlet } from "../ring/fragments.js";

/**
 * Limit of messages queued for the ring to the peer thread. More are dropped, which raft tolerates.
 */
const QUEUED_BYTES_MAX = 128 * 1024 * 1024;
/**
 * How long a stream must be open before its member counts as active for --strict-reconfig-check
 * (etcd's HealthInterval).
 */
const ACTIVE_MS = 5000;

/** The core's side of the peer thread: outgoing messages, and the state of each member's stream. */
export class PeerPort {
  readonly #outbox: Outlet;
  readonly #selfId: bigint;
  /** Monotonic time at which the stream to a member opened. */
  readonly #upSinceMs = new Map<bigint, number>();
  #isStopped = false;

  constructor(outbox: Outlet, selfId: bigint) {
    assert(selfId !== NONE, "a member's id is not 0");
    this.#outbox = outbox;
    this.#selfId = selfId;
  }

  /** @returns the size of the encoded message; 0 if it was dropped because the queue is full */
  send(message: Message): number {
    assert(!this.#isStopped, "a member that has stopped sends nothing");
    if (this.#outbox.queuedBytes > QUEUED_BYTES_MAX) return 0;
    assert(message.from === this.#selfId, "a member speaks for itself alone");
    const bytes = messageBytes(message);
    assert(bytes > 0, "0 stands for a dropped message");
    this.#outbox.open(bytes);
    const { bytes: target, view, at } = this.#outbox;
    const end = encodeMessageInto(message, target, view, at);
    assert(end - at === bytes, "a message has the size that was announced");
    this.#outbox.close(OutboxType.message, bytes);
    return bytes;
  }

  /**
   * Sends the peer thread the current member list.
   *
   * @param expected members from the start plan; used until the log has named this member
   */
  tellMembers(membership: Membership, expected: readonly StartMember[], formatLevel: number): void {
    assert(!this.#isStopped, "the peer thread is told to stop last");
    assert(formatLevel >= 1, "formats count from 1");
    const known = membership.members();
    // A removed member keeps its streams for a while: of two members, it may be the only one to
    // know that its removal is committed.
    const isNamed =
      known.some(({ id }) => id === this.#selfId) || membership.isRemoved(this.#selfId);
    const members = isNamed
      ? known.map(toPeer)
      : expected.map((member) => toPeer({ ...member, clientUrls: [], isLearner: false }));
    const content: PeerMembers = {
      members,
      removed: membership.removedIds().map(formatId),
      clusterVersion: membership.version,
      formatLevel,
    };
    const bytes = Buffer.from(JSON.stringify(content));
    this.#outbox.open(bytes.length);
    this.#outbox.bytes.set(bytes, this.#outbox.at);
    this.#outbox.close(OutboxType.members, bytes.length);
  }

  up(id: bigint, monoMs: number): void {
    assert(id !== this.#selfId, "a member has no stream to itself");
    this.#upSinceMs.set(id, monoMs);
  }

  down(id: bigint): void {
    assert(id !== this.#selfId, "a member has no stream to itself");
    this.#upSinceMs.delete(id);
  }

  /** Whether the stream to a member is open; always true for this member itself. */
  isConnected(id: bigint): boolean {
    return id === this.#selfId || this.#upSinceMs.has(id);
  }

  isUpSince(id: bigint, sinceMs: number): boolean {
    const upMs = this.#upSinceMs.get(id);
    return id === this.#selfId || (upMs !== undefined && upMs <= sinceMs);
  }

  connectivity(members: readonly ClusterMember[], monoMs: number): Connectivity {
    const active = members.filter(({ id }) => this.isUpSince(id, monoMs - ACTIVE_MS));
    return { activeMembers: active.length, isConnected: (id) => this.isConnected(id) };
  }

  get isEmpty(): boolean {
    return this.#outbox.isEmpty;
  }

  get queuedBytes(): number {
    return this.#outbox.queuedBytes;
  }

  canMove(): boolean {
    return this.#outbox.canMove();
  }

  publish(): void {
    this.#outbox.publish();
  }

  stop(): void {
    assert(!this.#isStopped, "the peer thread is told to stop once");
    this.#isStopped = true;
    this.#outbox.open(0);
    this.#outbox.close(OutboxType.stop, 0);
  }
}

function toPeer({ id, name, peerUrls, clientUrls, isLearner }: ClusterMember): PeerMember {
  return { id: formatId(id), name, peerUrls, clientUrls, isLearner };
}
