import { parseId } from "../cluster/ids.js";
import type { Member } from "../cluster/membership.js";

/** A running cluster, as listed by one of its members on its peer URL. */
export interface RemoteCluster {
  readonly clusterId: bigint;
  readonly members: readonly Member[];
}

/** `members` is empty if the other member does not know any yet. */
export type RemoteAnswer =
  | { readonly kind: "cluster"; readonly cluster: RemoteCluster }
  | { readonly kind: "unusable"; readonly why: string };

/**
 * Parses the response to `GET /members` on a peer URL: a JSON array whose ids are numbers up to
 * 2^64, and the cluster's id in X-Etcd-Cluster-ID.
 */
export function readRemoteMembers(body: string, clusterIdHeader: string): RemoteAnswer {
  const unusable = (why: string): RemoteAnswer => ({ kind: "unusable", why });
  // JSON.parse would round numbers beyond 2^53. Quotes inside strings are escaped, so this matches
  // only keys.
  const withTextIds = body.replace(/("id"\s*:\s*)(\d{1,20})(?=\s*[,}])/g, '$1"$2"');
  let list: unknown;
  try {
    list = JSON.parse(withTextIds);
  } catch {
    return unusable("the response is not JSON");
  }
  if (!Array.isArray(list)) return unusable("the response is not a list of members");
  const members: Member[] = [];
  for (const item of list as unknown[]) {
    const member = readMember(item);
    if (member === undefined) return unusable("the response lists an invalid member");
    members.push(member);
  }
  const clusterId = parseId(clusterIdHeader);
  if (clusterId === undefined || clusterId === 0n) {
    return unusable(`invalid cluster ID "${clusterIdHeader}"`);
  }
  if (new Set(members.map(({ id }) => id)).size < members.length) {
    return unusable("the response lists a member twice");
  }
  return { kind: "cluster", cluster: { clusterId, members } };
}

function readMember(item: unknown): Member | undefined {
  if (typeof item !== "object" || item === null) return undefined;
  const { id, name = "", peerURLs, clientURLs, isLearner } = item as Record<string, unknown>;
  if (typeof id !== "string" || !/^\d{1,20}$/.test(id) || typeof name !== "string")
    return undefined;
  const number = BigInt(id);
  if (number === 0n || number >= 1n << 64n) return undefined;
  const peerUrls = stringsOf(peerURLs);
  const clientUrls = stringsOf(clientURLs);
  if (peerUrls === undefined || clientUrls === undefined) return undefined;
  return { id: number, name, peerUrls, clientUrls, isLearner: isLearner === true };
}

function stringsOf(value: unknown): readonly string[] | undefined {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) return undefined;
  return value.every((text) => typeof text === "string") ? value : undefined;
}

/**
 * Whether this version may join: at least one cluster version must be known, and all known ones
 * must be in range (etcdserver/cluster_util.go, isCompatibleWithCluster).
 *
 * @param clusterVersions such as "3.4.0", from the other members' /version; other texts are ignored
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
