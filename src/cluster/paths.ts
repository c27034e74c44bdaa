import { CLUSTER_PREFIX } from "../store/node.js";
import { formatId, parseId } from "./ids.js";

/**
 * Paths of the membership in the replicated store (etcdserver/api/membership/store.go):
 *
 *   /0/members/<id>/raftAttributes   {"peerURLs":["http://10.0.0.1:2380"]}
 *   /0/members/<id>/attributes       {"name":"n1","clientURLs":["http://10.0.0.1:2379"]}
 *   /0/removed_members/<id>          empty; the id never returns
 *   /0/version                       3.4.0
 */
export const MEMBERS_PATH = `${CLUSTER_PREFIX}/members`;
export const REMOVED_MEMBERS_PATH = `${CLUSTER_PREFIX}/removed_members`;

export const VERSION_PATH = `${CLUSTER_PREFIX}/version`;

export function memberPath(id: bigint): string {
  return `${MEMBERS_PATH}/${formatId(id)}`;
}

export function raftAttributesPath(id: bigint): string {
  return `${memberPath(id)}/raftAttributes`;
}

export function attributesPath(id: bigint): string {
  return `${memberPath(id)}/attributes`;
}

export function removedMemberPath(id: bigint): string {
  return `${REMOVED_MEMBERS_PATH}/${formatId(id)}`;
}

/** A store path's meaning for the membership. */
export type ClusterPath =
  | { readonly kind: "version" }
  | {
      readonly kind: "member" | "raftAttributes" | "attributes" | "removed";
      readonly id: bigint;
    };

const PATTERN =
  /^\/0\/(?:(version)|members\/([0-9a-f]+)(?:\/(raftAttributes|attributes))?|removed_members\/([0-9a-f]+))$/;

export function readClusterPath(path: string): ClusterPath | undefined {
  if (!path.startsWith("/0/")) return undefined;
  const match = PATTERN.exec(path);
  if (match === null) return undefined;
  if (match[1] !== undefined) return { kind: "version" };
  const id = parseId(match[2] ?? match[4] ?? "");
  if (id === undefined) return undefined;
  if (match[4] !== undefined) return { kind: "removed", id };
  const leaf = match[3];
  return {
    kind: leaf === "raftAttributes" || leaf === "attributes" ? leaf : "member",
    id,
  };
}
