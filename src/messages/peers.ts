/** The messages between core and peer thread. Numbers are little-endian. */
import type { Outlet } from "../ring/fragments.js";
import type { RecordCursor } from "../ring/record-cursor.js";

/** Core to peer. */
export const OutboxType = {
  /**
   * An encoded raft message (raft/message-codec). A `snapshot` stands for the newest snapshot file.
   */
  message: 1,
  /** JSON of `PeerMembers`: whom to talk to, and what to tell on /members and /version. */
  members: 2,
  /** Send what is queued, then close everything and end. */
  stop: 3,
} as const;
export type OutboxType = (typeof OutboxType)[keyof typeof OutboxType];

/** Peer to core. */
export const InboxType = {
  /** An encoded raft message: its frame was whole, and it is from the member it says, to us. */
  message: 1,
  /** u64 id, f64 the newest format level it knows: a stream to this member is open. */
  up: 2,
  /** u64 id: the stream to this member ended; what was sent on it may be lost. */
  down: 3,
  /** u64 id, f64 1 or 0: the snapshot message to this member did its work, or never will. */
  snapshotSent: 4,
  /**
   * An encoded raft `snapshot` message, once the whole file is checked and durable in the snap
   * directory.
   */
  snapshotReceived: 5,
  /** The others say that this member was removed from the cluster: it stops. */
  removed: 6,
  /** u64 id: more is queued for this member than may be; what was sent last is lost. */
  overflow: 7,
} as const;
export type InboxType = (typeof InboxType)[keyof typeof InboxType];

export interface PeerMember {
  /** Hexadecimal. */
  readonly id: string;
  readonly name: string;
  readonly peerUrls: readonly string[];
  readonly clientUrls: readonly string[];
}

export interface PeerMembers {
  /** This member included, ascending by id. */
  readonly members: readonly PeerMember[];
  /** Ids that were removed and never return. */
  readonly removed: readonly string[];
  /** "3.4.0", or "" before there is one. */
  readonly clusterVersion: string;
  /** Of the cluster: a member that does not know it is refused. */
  readonly formatLevel: number;
}

/** An id and, for `up` and `snapshotSent`, what else there is to say. */
export function writePeerEvent(outlet: Outlet, type: number, id: bigint, value = 0): void {
  outlet.open(16);
  outlet.view.setBigUint64(outlet.at, id, true);
  outlet.view.setFloat64(outlet.at + 8, value, true);
  outlet.close(type, 16);
}

export function readPeerId(record: RecordCursor): bigint {
  return record.u64(0);
}

export function readPeerValue(record: RecordCursor): number {
  return record.f64(8);
}

export function readMembers(record: RecordCursor): PeerMembers {
  return JSON.parse(record.utf8(0)) as PeerMembers;
}
