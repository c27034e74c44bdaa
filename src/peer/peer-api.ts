import type { IncomingMessage, ServerResponse } from "node:http";
import { formatId, parseId } from "../cluster/ids.js";
import { goJsonString, goJsonStrings, goTimestamp } from "../go/text.js";
import type { PeerMember, PeerMembers } from "../messages/peers.js";
import { versionJson } from "../v2/status.js";
import type { PeerIdentity } from "./hello.js";

/** A response of the peer port to a plain HTTP request. */
export interface PeerApiResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** A member's own state, for responses. */
export interface PeerFacts {
  readonly identity: PeerIdentity;
  /** Undefined until the core has sent it. */
  readonly members: PeerMembers | undefined;
  readonly unixMs: number;
}

const TEXT = "text/plain; charset=utf-8";
const JSON_TYPE = "application/json";

/** etcd's handlers of the peer port: etcdserver/api/etcdhttp/peer.go and rafthttp/probing. */
export function answerPeerRequest(method: string, path: string, facts: PeerFacts): PeerApiResponse {
  switch (path) {
    case "/members":
      if (method !== "GET") return peerMethodNotAllowed("GET");
      return members(facts);
    case "/version":
      if (method !== "GET") return peerMethodNotAllowed("GET");
      return version(facts);
    case "/raft/probing": {
      const now = goTimestamp(BigInt(Math.floor(facts.unixMs)) * 1_000_000n);
      return { status: 200, headers: { "Content-Type": TEXT }, body: `{"OK":true,"Now":"${now}"}` };
    }
    default:
      if (path === "/raft" || path.startsWith("/raft/")) return notEtcd(facts);
      return textResponse(404, "404 page not found");
  }
}

/** An error in the format of Go's http.Error. */
export function textResponse(
  status: number,
  text: string,
  headers: Readonly<Record<string, string>> = {},
): PeerApiResponse {
  const plain = { "Content-Type": TEXT, "X-Content-Type-Options": "nosniff" };
  return { status, headers: { ...plain, ...headers }, body: `${text}\n` };
}

export function peerMethodNotAllowed(allow: string): PeerApiResponse {
  return textResponse(405, "Method Not Allowed", { Allow: allow });
}

export function clusterHeader({ clusterId }: PeerIdentity): Record<string, string> {
  return { "X-Etcd-Cluster-Id": formatId(clusterId) };
}

function members({ identity, members }: PeerFacts): PeerApiResponse {
  const cluster = clusterHeader(identity);
  if (members === undefined) return textResponse(503, "this member is still starting", cluster);
  const list = members.members.map(memberJson).join(",");
  return {
    status: 200,
    headers: { "Content-Type": JSON_TYPE, ...cluster },
    body: `[${list}]\n`,
  };
}

/**
 * As in etcd, the id is a JSON number, even above 2^53; a member not started yet has neither name
 * nor client URLs.
 */
function memberJson({ id, name, peerUrls, clientUrls, isLearner }: PeerMember): string {
  const named = name === "" ? "" : `,"name":${goJsonString(name)}`;
  const clients = clientUrls.length === 0 ? "" : `,"clientURLs":${goJsonStrings(clientUrls)}`;
  const learner = isLearner ? ',"isLearner":true' : "";
  return `{"id":${parseId(id) ?? 0n},"peerURLs":${goJsonStrings(peerUrls)}${learner}${named}${clients}}`;
}

function version({ members }: PeerFacts): PeerApiResponse {
  const body = versionJson(members?.clusterVersion ?? "");
  return { status: 200, headers: { "Content-Type": JSON_TYPE }, body };
}

function notEtcd({ identity }: PeerFacts): PeerApiResponse {
  const why = "incompatible version: this is a ringd member, which does not speak etcd's protocol";
  return textResponse(412, why, clusterHeader(identity));
}

/** Without the query. */
export function pathOf(request: IncomingMessage): string {
  const url = request.url ?? "/";
  const mark = url.indexOf("?");
  return mark < 0 ? url : url.slice(0, mark);
}

/** A body is read only if it is expected. */
export function sendPeerResponse(
  request: IncomingMessage,
  response: ServerResponse,
  { status, headers, body }: PeerApiResponse,
): void {
  const hasBody = request.headers["content-length"] !== undefined;
  const isChunked = request.headers["transfer-encoding"] !== undefined;
  if (hasBody || isChunked) response.setHeader("Connection", "close");
  const length = status === 204 ? {} : { "Content-Length": String(Buffer.byteLength(body)) };
  response.writeHead(status, { ...headers, ...length });
  response.end(body);
}
