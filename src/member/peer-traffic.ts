import { FORWARD_ONCE_LEVEL, type FormatLevels } from "../cluster/format.js";
import { assert } from "../lib/assert.js";
import type { Message } from "../raft/message.js";
import { decodeMessage } from "../raft/message-codec.js";
import type { Raft } from "../raft/raft.js";
import type { RaftStats } from "../v2/raft-stats.js";
import type { FirstElection } from "./first-election.js";
import type { IncomingSnapshot } from "./incoming-snapshot.js";
import type { PeerPort } from "./peer-port.js";
import type { TurnTimes } from "./times.js";
import type { Writes } from "./writes.js";

export interface PeerTrafficParts {
  readonly raft: Raft;
  readonly port: PeerPort;
  readonly writes: Writes;
  readonly formats: FormatLevels;
  readonly incoming: IncomingSnapshot;
  readonly firstElection: FirstElection;
  readonly stats: RaftStats;
  readonly times: TurnTimes;
  /** The stream to the leader opened. */
  readonly onLeaderReached: () => void;
}

/**
 * Raft's messages to and from other members, and the state of their streams; counted for /v2/stats.
 */
export class PeerTraffic {
  readonly #parts: PeerTrafficParts;

  constructor(parts: PeerTrafficParts) {
    this.#parts = parts;
  }

  send(message: Message): void {
    const { raft, port, stats, times } = this.#parts;
    assert(message.to !== raft.id, "a member sends nothing to itself");
    const bytes = port.send(message);
    if (bytes > 0) {
      if (message.type !== "append") return;
      const lastIndex = message.prevIndex + message.entries.length;
      stats.onAppendSent(message.to, lastIndex, bytes, times.monoMs);
    } else if (message.type === "snapshot") raft.reportSnapshot(message.to, false);
    else raft.reportUnreachable(message.to);
  }

  /** An encoded message from another member. @throws MessageError */
  receive(bytes: Uint8Array): void {
    const { raft, port, incoming, stats, times } = this.#parts;
    const message = decodeMessage(bytes);
    const { type, from } = message;
    assert(message.to === raft.id, "the peer thread passes on what is to this member");
    assert(from !== raft.id, "the peer thread passes on what others sent");
    if (type === "append") {
      // A reject would make the leader send the snapshot again while it is being loaded.
      if (incoming.isLoading) return;
      // Not counted from a deposed leader: a late append of an earlier term has no effect.
      if (message.term >= raft.term) {
        stats.onAppendReceived(from, bytes.length, times.monoMs, times.wallMs);
      }
    } else if (type === "transfer") {
      // Writes would wait for a member that does not answer.
      if (!port.isConnected(message.target)) return;
    } else if (type === "appendReply") stats.onAppendReply(from, message.index, times.monoMs);
    else if (type === "appendReject") stats.onAppendFailed(from);
    raft.step(message);
  }

  /** The stream to a member opened. @param format newest format level it supports */
  up(id: bigint, format: number): void {
    const { raft, port, writes, formats, firstElection, times, onLeaderReached } = this.#parts;
    assert(id !== raft.id, "a member has no stream to itself");
    formats.connected(id, format);
    port.up(id, times.monoMs);
    raft.peerTakesOnce(id, format >= FORWARD_ONCE_LEVEL);
    raft.reportReachable(id);
    if (id === raft.lead) {
      writes.sendAgain();
      writes.retry();
      onLeaderReached();
    }
    firstElection.onPeerUp(raft, (voter) => port.isConnected(voter));
  }

  /** The stream to a member closed: messages in flight may be lost. */
  down(id: bigint): void {
    const { raft, port, formats, stats } = this.#parts;
    assert(id !== raft.id, "a member has no stream to itself");
    formats.disconnected(id);
    port.down(id);
    stats.onAppendFailed(id);
    raft.reportUnreachable(id);
  }

  /** The peer thread dropped messages to a member, as its queue was full. */
  overflow(id: bigint): void {
    assert(id !== this.#parts.raft.id, "a member has no queue to itself");
    this.#parts.raft.reportUnreachable(id);
  }

  /** The transfer of a snapshot file to a member ended. @param hasArrived false if it failed */
  snapshotSent(id: bigint, hasArrived: boolean): void {
    assert(id !== this.#parts.raft.id, "a member sends itself no snapshot");
    this.#parts.raft.reportSnapshot(id, hasArrived);
  }
}
