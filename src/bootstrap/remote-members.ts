import { parseId } from "../cluster/ids.js";
import type { Member } from "../cluster/membership.js";

/** A running cluster, as one of its members lists it on its peer URL. */
export interface RemoteCluster {
  readonly clusterId: bigint;
  readonly members: readonly Member[];
}

/** `members` is empty where the other member has not learned of any yet. */
export type RemoteAnswer =
  | { readonly kind: "cluster"; readonly cluster: RemoteCluster }
  | { readonly kind: "unusable"; readonly why: string };

/**
 * Reads the answer to `GET /members` on a peer URL: a JSON array whose ids are numbers up to 2^64,
 * and the cluster's id in X-Etcd-Cluster-ID.
 */
export function readRemoteMembers(body: string, clusterIdHeader: string): RemoteAnswer {
  const unusable = (why: string): RemoteAnswer => ({ kind: "unusable", why });
  // Numbers beyond 2^53 would be rounded. Inside of strings a quote is escaped, so this finds keys
  // only.
  const withTextIds = body.replace(/("id"\s*:\s*)(\d{1,20})(?=\s*[,}])/g, '$1"$2"');
  let list: unknown;
  try {
    list = JSON.parse(withTextIds);
  } catch {
    return unusable("the answer is not JSON");
  }
  if (!Array.isArray(list)) return unusable("the answer is no list of members");
  const members: Member[] = [];
  for (const item of list as unknown[]) {
    const member = readMember(item);
    if (member === undefined) return unusable("the answer lists something that is no member");
    members.push(member);
  }
  const clusterId = parseId(clusterIdHeader);
  if (clusterId === undefined || clusterId === 0n) {
    return unusable(`the cluster ID "${clusterIdHeader}" is none`);
  }
  if (new Set(members.map(({ id }) => id)).size < members.length) {
    return unusable("the answer lists a member twice");
  }
  return { kind: "cluster", cluster: { clusterId, members } };
}

function readMember(item: unknown): Member | undefined {
  if (typeof item !== "object" || item === null) return undefined;
  const { id, name = "", peerURLs, clientURLs } = item as Record<string, unknown>;
  if (typeof id !== "string" || !/^\d{1,20}$/.test(id) || typeof name !== "string")
    return undefined;
  const number = BigInt(id);
  if (number === 0n || number >= 1n << 64n) return undefined;
  const peerUrls = stringsOf(peerURLs);
  const clientUrls = stringsOf(clientURLs);
  if (peerUrls === undefined || clientUrls === undefined) return undefined;
  return { id: number, name, peerUrls, clientUrls };
}

function stringsOf(value: unknown): readonly string[] | undefined {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) return undefined;
  return value.every((text) => typeof text === "string") ? value : undefined;
}

/**
 * Whether a member of this version may join: every cluster version that is known must be in range,
 * and one must be known (etcdserver/cluster_util.go, isCompatibleWithCluster).
 *
 * @param clusterVersions "3.4.0" as the other members' /version says; what is no version does not
 *   count
 */
export function isCompatible(clusterVersions: readonly string[]): boolean {
  const known = clusterVersions.flatMap((text) => {
    const [, major, minor] = /^(\d+)\.(\d+)\.\d+/.exec(text) ?? [];
    return major === undefined ? [] : [Number(major) * 1000 + Number(minor)];
  });
  return known.length > 0 && known.every((version) => version >= OLDEST && version <= NEWEST);
}

const OLDEST = 3000;
const NEWEST = 3004;
