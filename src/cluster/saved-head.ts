import type { ConfState } from "../raft/entry.js";
import { formatId, parseId } from "./ids.js";
import { encodeSnapshotHead, type SnapshotHead } from "./snapshot-head.js";

/** Where a saved snapshot comes from. */
export interface SnapshotOrigin {
  /** X-Etcd-Index of its store. */
  readonly etcdIndex: number;
  readonly clusterId: bigint;
  readonly memberId: bigint;
}

/**
 * Metadata of a saved snapshot: those of a member's own snapshots (snapshot-head.ts) and
 *
 *   "etcdIndex": 1234, "clusterId": "cdf8181e32278f57", "memberId": "8e9e05c52164694d"
 */
export function encodeSavedHead(
  conf: ConfState,
  head: SnapshotHead,
  { etcdIndex, clusterId, memberId }: SnapshotOrigin,
): Buffer {
  const content = JSON.parse(encodeSnapshotHead(conf, head).toString()) as object;
  const ids = { clusterId: formatId(clusterId), memberId: formatId(memberId) };
  return Buffer.from(JSON.stringify({ ...content, etcdIndex, ...ids }));
}

/** @returns undefined for a member's own snapshot @throws SyntaxError for bytes that are no JSON */
export function decodeOrigin(bytes: Buffer): SnapshotOrigin | undefined {
  const content: unknown = JSON.parse(bytes.toString());
  if (typeof content !== "object" || content === null) return undefined;
  const { etcdIndex, clusterId, memberId } = content as Record<string, unknown>;
  const ids = [clusterId, memberId].map((id) => (typeof id === "string" ? parseId(id) : undefined));
  const [cluster, member] = ids;
  if (typeof etcdIndex !== "number" || cluster === undefined || member === undefined) {
    return undefined;
  }
  return { etcdIndex, clusterId: cluster, memberId: member };
}
