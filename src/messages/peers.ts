/** Messages between core and peer thread. Numbers are little-endian. */
import type { Outlet } from "../ring/fragments.js";
import type { RecordCursor } from "../ring/record-cursor.js";

/** Core to peer. */
export const OutboxType = {
  /**
   * An encoded raft message (raft/message-codec). For a `snapshot`, also send the newest snapshot
   * file.
   */
  message: 1,
  /** JSON of `PeerMembers`: the members to connect to, and the content of /members and /version. */
  members: 2,
  /** Send queued messages, then close everything and exit. */
  stop: 3,
} as const;
export type OutboxType = (typeof OutboxType)[keyof typeof OutboxType];

/** Peer to core. */
export const InboxType = {
  /** An encoded raft message with a valid frame, sent by its `from` member to this one. */
  message: 1,
  /** u64 id, f64 newest format level it supports: a stream to this member opened. */
  up: 2,
  /** u64 id: the stream to this member closed; messages in flight may be lost. */
  down: 3,
  /** u64 id, f64 1 or 0: a snapshot was received by this member, or its transfer failed. */
  snapshotSent: 4,
  /**
   * An encoded raft `snapshot` message, after its whole file is verified and durable in the snap
   * directory.
   */
  snapshotReceived: 5,
  /** Other members report that this member was removed from the cluster. */
  removed: 6,
  /** u64 id: this member's queue is full; the latest messages were dropped. */
  overflow: 7,
} as const;
export type InboxType = (typeof InboxType)[keyof typeof InboxType];

export interface PeerMember {
  /** Hexadecimal. */
  readonly id: string;
  readonly name: string;
  readonly peerUrls: readonly string[];
  readonly clientUrls: readonly string[];
  readonly isLearner?: boolean;
}

export interface PeerMembers {
  /** Includes this member; ascending by id. */
  readonly members: readonly PeerMember[];
  /** Ids of removed members, which never return. */
  readonly removed: readonly string[];
  /** "3.4.0", or "" until one is set. */
  readonly clusterVersion: string;
  /** The cluster's; connections from members that do not support it are rejected. */
  readonly formatLevel: number;
}

/** Writes an id and, for `up` and `snapshotSent`, its value. */
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
