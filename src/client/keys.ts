import { parseBody, type ReadAnswer } from "./cluster.js";
import { encodeForm, encodeKey, encodeQuery, type Parameters } from "./encode.js";
import { InvalidAnswerError } from "./errors.js";
import { errorOf } from "./json-api.js";
import type { KeysAnswer, Node } from "./responses.js";
import type { MemberRequest, MemberResponse } from "./transport.js";

/** A request to the key space; it may be a read. */
export interface KeysCall {
  readonly method: MemberRequest["method"];
  readonly key: string;
  readonly query?: Parameters | undefined;
  readonly form?: KeysForm | undefined;
}

export interface KeysForm {
  readonly value: string | Uint8Array | undefined;
  readonly ttl?: number | undefined;
  readonly refresh?: boolean | undefined;
}

/** @throws TypeError for a TTL that is not a whole number of seconds */
export function keysRequest({ method, key, query = {}, form }: KeysCall): MemberRequest {
  const text = encodeQuery(query);
  return {
    method,
    path: `/v2/keys${encodeKey(key)}${text === "" ? "" : `?${text}`}`,
    ...(form === undefined
      ? {}
      : { body: encodeKeysForm(form), contentType: "application/x-www-form-urlencoded" }),
  };
}

/** @throws EtcdError if the key space rejected the request, ApiError, InvalidAnswerError */
export function readKeysAnswer(response: ReadAnswer): KeysAnswer {
  const { status, headers, endpoint } = response;
  if (status !== 200 && status !== 201) throw errorOf(response);
  const { action, node, prevNode } = readEvent(response);
  return {
    action,
    node,
    ...(prevNode === undefined ? {} : { prevNode }),
    index: headerNumber(headers, "x-etcd-index"),
    raftIndex: headerNumber(headers, "x-raft-index"),
    raftTerm: headerNumber(headers, "x-raft-term"),
    clusterId: String(headers["x-etcd-cluster-id"] ?? ""),
    status,
    endpoint,
  };
}

/** The JSON of a success. @throws InvalidAnswerError */
export function readEvent(response: ReadAnswer): Pick<KeysAnswer, "action" | "node" | "prevNode"> {
  const json = parseBody(response) as Partial<KeysAnswer> | null;
  if (typeof json?.action !== "string" || typeof json.node !== "object" || json.node === null) {
    throw new InvalidAnswerError(
      response.endpoint,
      response.status,
      "response is not from a v2 key space",
    );
  }
  const node = named(json.node);
  const prevNode = json.prevNode ?? undefined;
  return { action: json.action, node, ...(prevNode === undefined ? {} : { prevNode }) };
}

/** @returns 0 for a header that is missing */
export function headerNumber(headers: MemberResponse["headers"], name: string): number {
  return Number(headers[name] ?? 0);
}

function encodeKeysForm({ value, ttl, refresh }: KeysForm): string {
  if (ttl !== undefined && (!Number.isSafeInteger(ttl) || ttl < 0)) {
    throw new TypeError(`ttl must be a whole number of seconds, not ${ttl}`);
  }
  const pairs: string[] = [];
  if (refresh !== undefined) pairs.push(`refresh=${refresh}`);
  if (ttl !== undefined) pairs.push(`ttl=${ttl}`);
  if (value !== undefined) pairs.push(`value=${encodeForm(value)}`);
  return pairs.join("&");
}

/** The server sends the root without a key and, in an empty store, without indexes. */
function named(node: Node): Node {
  if (node.key !== undefined && node.modifiedIndex !== undefined) return node;
  return {
    ...node,
    key: node.key ?? "/",
    modifiedIndex: node.modifiedIndex ?? 0,
    createdIndex: node.createdIndex ?? 0,
  };
}
