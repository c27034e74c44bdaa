import type { KeysAnswer, Node } from "./answers.js";
import { parseJson, type ReadAnswer } from "./cluster.js";
import { encodeForm, encodeKey, encodeQuery, type Parameters } from "./encode.js";
import { InvalidAnswerError } from "./errors.js";
import { refusal } from "./json-api.js";
import type { Answer, Request } from "./transport.js";

/** A request to the key space. */
export interface KeysChange {
  readonly method: Request["method"];
  readonly key: string;
  readonly query?: Parameters | undefined;
  readonly form?: KeysForm | undefined;
}

export interface KeysForm {
  readonly value: string | Uint8Array | undefined;
  readonly ttl?: number | undefined;
  readonly refresh?: boolean | undefined;
}

/** @throws TypeError for a TTL that is no whole number of seconds */
export function keysRequest({ method, key, query = {}, form }: KeysChange): Request {
  const text = encodeQuery(query);
  return {
    method,
    path: `/v2/keys${encodeKey(key)}${text === "" ? "" : `?${text}`}`,
    ...(form === undefined
      ? {}
      : { body: encodeKeysForm(form), contentType: "application/x-www-form-urlencoded" }),
  };
}

/** @throws EtcdError for a refusal, InvalidAnswerError */
export function keysAnswer(answer: ReadAnswer): KeysAnswer {
  const { status, headers, endpoint } = answer;
  if (status !== 200 && status !== 201) throw refusal(answer);
  const { action, node, prevNode } = keysEvent(answer);
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
export function keysEvent(answer: ReadAnswer): Pick<KeysAnswer, "action" | "node" | "prevNode"> {
  const json = parseJson(answer) as Partial<KeysAnswer> | null;
  if (typeof json?.action !== "string" || typeof json.node !== "object" || json.node === null) {
    throw new InvalidAnswerError(answer.endpoint, answer.status, "response is no key space answer");
  }
  const node = named(json.node);
  const prevNode = json.prevNode ?? undefined;
  return { action: json.action, node, ...(prevNode === undefined ? {} : { prevNode }) };
}

/** @returns 0 if there is none */
export function headerNumber(headers: Answer["headers"], name: string): number {
  return Number(headers[name] ?? 0);
}

function encodeKeysForm({ value, ttl, refresh }: KeysForm): string {
  if (ttl !== undefined && (!Number.isSafeInteger(ttl) || ttl < 0)) {
    throw new TypeError(`ttl is a whole number of seconds, not ${ttl}`);
  }
  const pairs: string[] = [];
  if (refresh !== undefined) pairs.push(`refresh=${refresh}`);
  if (ttl !== undefined) pairs.push(`ttl=${ttl}`);
  if (value !== undefined) pairs.push(`value=${encodeForm(value)}`);
  return pairs.join("&");
}

/** The root comes without key and, in an empty store, without indexes. */
function named(node: Node): Node {
  if (node.key !== undefined && node.modifiedIndex !== undefined) return node;
  return {
    ...node,
    key: node.key ?? "/",
    modifiedIndex: node.modifiedIndex ?? 0,
    createdIndex: node.createdIndex ?? 0,
  };
}
