import { readBy } from "../cluster/format.js";
import { formatId, parseId } from "../cluster/ids.js";
import { parseUrlList } from "../go/url-list.js";

/**
 * Handshake of two members. The dialling one sends these request headers:
 *
 *   X-Ringd-Protocol    version of the streams and of the raft messages on them
 *   X-Etcd-Cluster-ID   hexadecimal, as all ids here
 *   X-Ringd-From        id of the dialling member
 *   X-Ringd-To          id of the member it expects
 *   X-Ringd-Peer-Urls   its own peer URLs, separated by commas
 *   X-Ringd-Format      newest format level it supports (cluster/format.ts); absent in older
 *                       builds, which support level 1
 *
 * The response has the other member's cluster id and X-Ringd-Format; it upgrades, or has the reason
 * of the rejection.
 */
const PROTOCOL_VERSION = "1";
const PROTOCOL_HEADER = "x-ringd-protocol";
export const CLUSTER_HEADER = "x-etcd-cluster-id";
const FROM_HEADER = "x-ringd-from";
const TO_HEADER = "x-ringd-to";
const PEER_URLS_HEADER = "x-ringd-peer-urls";
const FORMAT_HEADER = "x-ringd-format";

export const STREAM_PATH = "/ringd/stream";
export const STREAM_UPGRADE = `ringd-raft/${PROTOCOL_VERSION}`;
export const SNAPSHOT_PATH = "/ringd/snapshot";

/** This member's permanent identity. */
export interface PeerIdentity {
  readonly memberId: bigint;
  readonly clusterId: bigint;
}

/** The members that this member knows of, at present. */
export interface Roster {
  /** False until the core has sent the membership. */
  readonly isKnown: boolean;
  /** The cluster's level. */
  readonly formatLevel: number;
  has(id: bigint): boolean;
  isRemoved(id: bigint): boolean;
}

export type Verdict =
  | {
      readonly kind: "welcome";
      readonly from: bigint;
      /** False for a member whose addition is not applied here yet. */
      readonly isMember: boolean;
      readonly peerUrls: readonly string[];
    }
  | { readonly kind: "refused"; readonly status: number; readonly reason: string };

/** Headers as of node:http: names in lower case. */
export type Headers = Readonly<Record<string, string | readonly string[] | undefined>>;

export function helloHeaders(
  { memberId, clusterId }: PeerIdentity,
  to: bigint,
  peerUrls: readonly string[],
  format: number,
): Record<string, string> {
  return {
    ...formatHeader(format),
    [PROTOCOL_HEADER]: PROTOCOL_VERSION,
    [CLUSTER_HEADER]: formatId(clusterId),
    [FROM_HEADER]: formatId(memberId),
    [TO_HEADER]: formatId(to),
    [PEER_URLS_HEADER]: peerUrls.join(","),
  };
}

/** Empty for level 1, as older builds have no such header. */
export function formatHeader(format: number): Record<string, string> {
  return format > 1 ? { [FORMAT_HEADER]: String(format) } : {};
}

/** The newest level that the peer supports. */
export function formatOf(headers: Headers): number {
  const text = textOf(headers[FORMAT_HEADER]);
  return /^[1-9]\d{0,5}$/.test(text) ? Number(text) : 1;
}

/** Why a member that supports levels up to `format` cannot join; undefined if it can. */
export function whyTooOld(id: bigint, format: number, level: number): string | undefined {
  if (format >= level) return undefined;
  const version = readBy(level);
  const needs = version === "" ? "a newer ringd" : `ringd ${version} or later`;
  return `the cluster writes format ${level}, and member ${formatId(id)} reads formats up to ${format}: it needs ${needs}`;
}

/**
 * Accepts or rejects an incoming stream.
 *
 * Accepts an unknown member of this cluster if it sends its peer URLs: the entries that added it
 * have not reached this member yet, and perhaps only the new member can send them.
 */
export function judgeHello(headers: Headers, self: PeerIdentity, roster: Roster): Verdict {
  const protocol = textOf(headers[PROTOCOL_HEADER]);
  if (protocol !== PROTOCOL_VERSION) {
    return refused(
      426,
      `this member speaks version ${PROTOCOL_VERSION} of ringd's peer protocol, not "${protocol}"`,
    );
  }
  const cluster = parseId(textOf(headers[CLUSTER_HEADER]));
  if (cluster !== self.clusterId) {
    const theirs = cluster === undefined ? "none" : formatId(cluster);
    return refused(
      412,
      `cluster ID mismatch: this member is of cluster ${formatId(self.clusterId)}, not ${theirs}; ` +
        "compare --initial-cluster, --initial-cluster-token and the data directories",
    );
  }
  const to = parseId(textOf(headers[TO_HEADER]));
  if (to !== self.memberId) {
    return refused(
      412,
      `this is member ${formatId(self.memberId)}, not ${to === undefined ? "none" : formatId(to)}`,
    );
  }
  const from = parseId(textOf(headers[FROM_HEADER]));
  if (from === undefined || from === 0n) return refused(400, "the sender's member id is missing");
  const verdict = judgeSender(from, textOf(headers[PEER_URLS_HEADER]), self, roster);
  const why = whyTooOld(from, formatOf(headers), roster.formatLevel);
  return verdict.kind === "refused" || why === undefined ? verdict : refused(426, why);
}

function judgeSender(from: bigint, urls: string, self: PeerIdentity, roster: Roster): Verdict {
  const id = formatId(from);
  if (from === self.memberId) {
    return refused(409, `member ${id} is this one; are two processes started as the same member?`);
  }
  if (!roster.isKnown) return refused(503, "this member is still starting");
  if (roster.isRemoved(from)) {
    return refused(410, `the member ${id} has been permanently removed from the cluster`);
  }
  const list = urls === "" ? undefined : parseUrlList(urls.split(","));
  const peerUrls = list?.kind === "urls" ? list.urls : [];
  const isMember = roster.has(from);
  if (!isMember && peerUrls.length === 0) return refused(404, `member ${id} is not known here`);
  return { kind: "welcome", from, isMember, peerUrls };
}

function refused(status: number, reason: string): Verdict {
  return { kind: "refused", status, reason };
}

function textOf(value: string | readonly string[] | undefined): string {
  return typeof value === "string" ? value : "";
}
