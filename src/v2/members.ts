import { LEARNER_LEVEL, readBy } from "../cluster/format.js";
import { formatId, memberId, parseId, type Sha1 } from "../cluster/ids.js";
import type { MemberChange } from "../cluster/member-change.js";
import { PEER_URL_BYTES_MAX, PEER_URLS_MAX } from "../cluster/member-change.js";
import type { Member, Membership } from "../cluster/membership.js";
import {
  type ConfChangeVerdict,
  type Connectivity,
  judgeConfChange,
  judgeStrictly,
} from "../cluster/rules.js";
import { parseScanned, scanJson } from "../go/json-scanner.js";
import { goJsonString, goJsonStrings } from "../go/text.js";
import { parseUrlList, type UrlList } from "../go/url-list.js";
import { unreachable } from "../lib/assert.js";
import {
  type ApiResponse,
  bytesMessageResponse,
  messageResponse,
  methodNotAllowed,
  plainResponse,
  refuseMethod,
} from "./plain.js";
import { type ApiRequest, Method } from "./request.js";
import { ContentKind } from "./response.js";

const PREFIX = "/v2/members";
/** Parsed, 10 MiB of JSON could take hundreds of MB of the heap. */
const JSON_BYTES_MAX = 1024 * 1024;
const ALLOWED = [Method.get, Method.post, Method.delete, Method.put];
const PROMOTE = /\/promote$/;
/** Of the changes that succeed. */
export const STATUS = {
  add: 201,
  addLearner: 201,
  promote: 200,
  remove: 204,
  update: 204,
} as const;
/** Every response has X-Etcd-Cluster-Id, except the 405 of a method that is never allowed. */
const HEADERS = { hasClusterId: true };

/** Inputs of the members API. */
export interface MembersInputs {
  readonly membership: Membership;
  /** 0 if no leader is known. */
  readonly leaderId: bigint;
  /** Salt of a new member's id. */
  readonly unixSeconds: number;
  readonly sha1: Sha1;
  /** Undefined without `--strict-reconfig-check`. */
  readonly connectivity: Connectivity | undefined;
}

/**
 * A response, or a change to be carried out in these steps:
 *
 *   1. The caller waits for a read index, as this member's state may be behind, and a member added
 *      through another one must be found. Then `refuseConfChange` rejects invalid changes.
 *   2. It proposes the change, with itself as the origin.
 *   3. When the entry is applied, all members validate it again, as another change may have come
 *      first, and the origin responds with `confChangeResponse`.
 *
 * If any step times out, the response is `internalError`.
 */
export type MembersOutcome =
  | { readonly kind: "answer"; readonly answer: ApiResponse }
  | { readonly kind: "propose"; readonly change: MemberChange };

/** `/v2/members`, `/v2/members/leader` and `/v2/members/<id>` (etcdserver/api/v2http/client.go). */
export function handleMembers(request: ApiRequest, inputs: MembersInputs): MembersOutcome {
  const refusal = refuseMethod(request.method, ALLOWED);
  if (refusal !== undefined) return answered(refusal);
  const rest = tailOf(request.path);
  switch (request.method) {
    case Method.get:
      return answered(readMembers(rest, inputs));
    case Method.post: {
      if (PROMOTE.test(rest)) return promotion(rest.replace(PROMOTE, ""), inputs);
      return addition(request, inputs);
    }
    default: {
      if (rest === "") return answered(methodNotAllowed("", HEADERS));
      const id = parseId(rest);
      if (id === undefined) return answered(noSuchMember(rest));
      let change: MemberChange = { kind: "remove", id };
      if (request.method === Method.put) {
        const urls = readPeerUrls(request);
        if (urls.kind === "refused") return answered(urls.answer);
        change = { kind: "update", id, peerUrls: urls.urls };
      }
      // 0 parses, but is never a member's id.
      return id === 0n ? answered(noSuchMember("0")) : decide(change, inputs);
    }
  }
}

function addition(request: ApiRequest, inputs: MembersInputs): MembersOutcome {
  const urls = readPeerUrls(request);
  if (urls.kind === "refused") return answered(urls.answer);
  const isLearner = decodeIsLearner(request.body);
  if (typeof isLearner !== "boolean") {
    return answered(messageResponse(400, isLearner.message, HEADERS));
  }
  const id = memberId(urls.urls, `${inputs.unixSeconds}`, inputs.sha1);
  return decide({ kind: isLearner ? "addLearner" : "add", id, peerUrls: urls.urls }, inputs);
}

/** @param shown latin1 bytes */
function promotion(shown: string, inputs: MembersInputs): MembersOutcome {
  const id = parseId(shown);
  if (id === undefined || id === 0n) return answered(noSuchMember(shown));
  return decide({ kind: "promote", id }, inputs);
}

/** Whether a method changes members; only for these does etcd check the client's permission. */
export function writesMembers(method: Method): boolean {
  return method !== Method.get && (ALLOWED as readonly Method[]).includes(method);
}

/**
 * The error response to a change that is invalid for the current membership; undefined if it is
 * valid.
 */
export function refuseConfChange(
  change: MemberChange,
  membership: Membership,
): ApiResponse | undefined {
  const verdict = judgeConfChange(change, membership);
  if (verdict !== "ok") return confChangeResponse(change, verdict, membership);
  const isPromotion = change.kind === "promote";
  if (!isPromotion || membership.member(change.id)?.isLearner) return undefined;
  return messageResponse(412, "etcdserver: can only promote a learner member", HEADERS);
}

/** The learner to be promoted lacks too much of the log, or is not heard. */
export function learnerNotReady(): ApiResponse {
  const why = "etcdserver: can only promote a learner member which is in sync with leader";
  return messageResponse(412, why, HEADERS);
}

/** Members of older builds do not know learners that stay learners. */
export function learnersUnsupported(level: number): ApiResponse {
  const why = `a learner needs ringd ${readBy(LEARNER_LEVEL)} or later on all members (format ${LEARNER_LEVEL}; the cluster's is ${level})`;
  return messageResponse(412, why, HEADERS);
}

/** The response to a change by its verdict. @param membership after it */
export function confChangeResponse(
  change: MemberChange,
  verdict: ConfChangeVerdict,
  membership: Membership,
): ApiResponse {
  switch (verdict) {
    case "ok": {
      const status = STATUS[change.kind];
      const member = membership.member(change.id);
      if (status === 204 || member === undefined) {
        return plainResponse(204, ContentKind.none, "", HEADERS);
      }
      return plainResponse(status, ContentKind.json, `${memberJson(member)}\n`, HEADERS);
    }
    case "idNotFound":
      return noSuchMember(formatId(change.id));
    case "idRemoved":
      // Etcd has no words for the others.
      if (change.kind !== "remove" && change.kind !== "promote") return internalError();
      return messageResponse(410, `Member permanently removed: ${formatId(change.id)}`, HEADERS);
    case "idExists":
      return messageResponse(409, "membership: ID exists", HEADERS);
    case "peerUrlExists":
      return messageResponse(409, "membership: peerURL exists", HEADERS);
    default:
      return unreachable(verdict);
  }
}

/** For a change that the strict rules reject, or that timed out. */
export function internalError(): ApiResponse {
  return messageResponse(500, "Internal Server Error", HEADERS);
}

/** Too many membership changes are pending. */
export function tooManyChanges(): ApiResponse {
  return messageResponse(500, "etcdserver: too many requests", HEADERS);
}

/** A member as JSON, always with all fields but `isLearner`, which only a learner has. */
export function memberJson(member: Member): string {
  const peerUrls = goJsonStrings(member.peerUrls);
  const clientUrls = goJsonStrings(member.clientUrls);
  const name = goJsonString(member.name);
  const learner = member.isLearner ? ',"isLearner":true' : "";
  return `{"id":"${formatId(member.id)}","name":${name},"peerURLs":${peerUrls},"clientURLs":${clientUrls}${learner}}`;
}

/** `GET /v2/machines`: the client URLs of all members, for clients that predate /v2/members. */
export function handleMachines(request: ApiRequest, membership: Membership): ApiResponse {
  const refusal = refuseMethod(request.method, [Method.get, Method.head]);
  if (refusal !== undefined) return refusal;
  return plainResponse(200, ContentKind.text, membership.clientUrls().join(", "));
}

function readMembers(rest: string, { membership, leaderId }: MembersInputs): ApiResponse {
  if (rest === "") {
    const members = membership.members().map(memberJson).join(",");
    return plainResponse(200, ContentKind.json, `{"members":[${members}]}\n`, HEADERS);
  }
  if (rest !== "leader") return messageResponse(404, "Not found", HEADERS);
  // This member may know the leader's id before it has applied the leader's addition.
  const leader = leaderId === 0n ? undefined : membership.member(leaderId);
  if (leader === undefined) return messageResponse(503, "During election", HEADERS);
  return plainResponse(200, ContentKind.json, `${memberJson(leader)}\n`, HEADERS);
}

/** The strict rules come first, even for a change that is invalid anyway, as in etcd. */
function decide(change: MemberChange, inputs: MembersInputs): MembersOutcome {
  if (inputs.connectivity !== undefined) {
    const strict = judgeStrictly(change, inputs.membership.members(), inputs.connectivity);
    if (strict !== "ok") return answered(internalError());
  }
  return { kind: "propose", change };
}

type PeerUrls =
  | { readonly kind: "urls"; readonly urls: readonly string[] }
  | { readonly kind: "refused"; readonly answer: ApiResponse };

/** The refusal of a body that is not JSON by its type, or too large. */
export function refuseJsonBody(request: ApiRequest): ApiResponse | undefined {
  const sent = Buffer.from(request.contentType, "latin1").toString("utf8");
  const semicolon = sent.indexOf(";");
  // As in etcd, only a type with parameters is trimmed and lower-cased.
  const type = semicolon < 0 ? sent : sent.slice(0, semicolon).toLowerCase().trim();
  if (type !== "application/json") {
    return messageResponse(415, `Bad Content-Type ${type}, accept application/json`, HEADERS);
  }
  const isTooLarge = request.isBodyTooLarge || request.body.length > JSON_BYTES_MAX;
  return isTooLarge ? messageResponse(400, "http: request body too large", HEADERS) : undefined;
}

function readPeerUrls(request: ApiRequest): PeerUrls {
  const refusal = refuseJsonBody(request);
  if (refusal !== undefined) return { kind: "refused", answer: refusal };
  const urls = decodePeerUrls(request.body);
  if (urls.kind === "urls") return urls;
  return { kind: "refused", answer: messageResponse(400, urls.message, HEADERS) };
}

/** Go's name of the expected type, in its error text. */
const BODY_TYPE = 'struct { PeerURLs []string "json:\\"peerURLs\\"" }';

/** Parses `{"peerURLs":[...]}` with the error texts of Go's encoding/json. Never throws. */
export function decodePeerUrls(body: Buffer): UrlList {
  const scan = scanJson(body, "whole");
  if (scan.kind === "invalid") return scan;
  const value = parseScanned(body, scan);
  const wrongBody = kindOf(value) === "object" || value === null ? undefined : kindOf(value);
  if (wrongBody !== undefined) return mismatch(wrongBody, `value of type ${BODY_TYPE}`);
  let texts: string[] = [];
  for (const [key, field] of Object.entries(value ?? {})) {
    // Go matches field names in any case; null makes an empty list and an empty item.
    if (key.toUpperCase() !== "PEERURLS") continue;
    if (field === null) {
      texts = [];
      continue;
    }
    if (!Array.isArray(field))
      return mismatch(kindOf(field), "struct field .peerURLs of type []string");
    const wrongItem = field.find((item) => typeof item !== "string" && item !== null);
    if (wrongItem !== undefined) {
      return mismatch(kindOf(wrongItem), "struct field .peerURLs of type string");
    }
    texts = field.map((item) => (item === null ? "" : String(item)));
  }
  if (texts.length > PEER_URLS_MAX) return { kind: "invalid", message: "too many URLs given" };
  if (texts.some((text) => Buffer.byteLength(text) > PEER_URL_BYTES_MAX)) {
    return { kind: "invalid", message: "URL too long" };
  }
  return parseUrlList(texts);
}

/** Of a body whose peer URLs were decoded. */
function decodeIsLearner(body: Buffer): boolean | { readonly message: string } {
  const scan = scanJson(body, "whole");
  if (scan.kind === "invalid") return scan;
  let isLearner = false;
  for (const [key, field] of Object.entries(parseScanned(body, scan) ?? {})) {
    if (key.toUpperCase() !== "ISLEARNER" || field === null) continue;
    if (typeof field !== "boolean") {
      const kind = kindOf(field);
      return {
        message: `json: cannot unmarshal ${kind} into Go struct field .isLearner of type bool`,
      };
    }
    isLearner = field;
  }
  return isLearner;
}

function mismatch(kind: string, target: string): UrlList {
  return {
    kind: "invalid",
    message: `json: cannot unmarshal ${kind} into Go ${target}`,
  };
}

function kindOf(value: unknown): string {
  if (Array.isArray(value)) return "array";
  return typeof value === "boolean" ? "bool" : typeof value;
}

/** The path after the prefix and one slash, percent-decoded, as latin1 bytes. */
function tailOf(path: string): string {
  const rest = path.slice(PREFIX.length).replace(/^\//, "");
  return rest.replace(/%([0-9a-fA-F]{2})/g, (_, pair: string) =>
    String.fromCharCode(Number.parseInt(pair, 16)),
  );
}

/** @param shown latin1 bytes */
export function noSuchMember(shown: string): ApiResponse {
  return bytesMessageResponse(404, `No such member: ${shown}`, HEADERS);
}

function answered(answer: ApiResponse): MembersOutcome {
  return { kind: "answer", answer };
}
