import { ACTION_NAMES, Action, type Event } from "../store/event.js";
import { KEYS_PREFIX, type Node, PERMANENT } from "../store/node.js";
import type { Refusal } from "../store/refusal.js";
import type { ByteWriter } from "./byte-writer.js";
import { V2_ERRORS } from "./errors.js";
import { isPlainJson, jsonString, plainJsonString, rfc3339 } from "./json.js";
import { ContentKind, type ResponseHead } from "./response.js";

const MS_PER_SECOND = 1000;
/** Go's time.Sub saturates at 64 bits of nanoseconds; this is its minimum. */
const TTL_SECONDS_MIN = -9_223_372_036;

const OPENINGS = ACTION_NAMES.map((name) => `{"action":"${name}"`);
const NODE_OPENINGS = OPENINGS.map((opening) => `${opening},"node":`);

/** Writes a change as the response to its writer or as a watch's event. Ends in a newline. */
export function writeEvent(writer: ByteWriter, event: Event, noValueOnSuccess: boolean): void {
  const { action, node, prevNode, timeMs } = event;
  if (noValueOnSuccess && !isRemoval(action)) {
    writer.latin1(OPENINGS[action] as string);
    writer.latin1("}\n");
    return;
  }
  writer.latin1(NODE_OPENINGS[action] as string);
  openNode(writer, node, timeMs, !isRemoval(action));
  closeNode(writer, node, false);
  if (prevNode !== undefined) {
    writer.latin1(',"prevNode":');
    openNode(writer, prevNode, timeMs, true);
    closeNode(writer, prevNode, false);
  }
  writer.latin1("}\n");
}

/** Status of the response to a successful change. */
export function eventStatus(event: Event): number {
  const isNew = event.action === Action.set && event.prevNode === undefined;
  return event.action === Action.create || isNew ? 201 : 200;
}

/** Writes the response to a GET of a file. */
export function writeFile(writer: ByteWriter, node: Node, clusterMs: number): void {
  writer.latin1('{"action":"get","node":');
  openNode(writer, node, clusterMs, true);
  closeNode(writer, node, false);
  writer.latin1("}\n");
}

export function writeRefusal(writer: ByteWriter, refusal: Refusal): ResponseHead {
  const { message, status } = V2_ERRORS[refusal.code];
  writer.latin1(`{"errorCode":${refusal.code},"message":"${message}"`);
  const cause = withoutPrefix(refusal.cause);
  if (cause !== "") {
    writer.latin1(',"cause":');
    jsonString(writer, cause);
  }
  writer.latin1(`,"index":${refusal.index}}\n`);
  return { ...keysHead(status, refusal.index), hasRaft: false };
}

export function keysHead(status: number, etcdIndex: number): ResponseHead {
  return {
    status,
    contentKind: ContentKind.json,
    hasClusterId: true,
    etcdIndex,
    hasRaft: true,
    allow: "",
    location: "",
  };
}

/** Writes `{` and all fields before `nodes`; `closeNode` writes the rest. */
export function openNode(
  writer: ByteWriter,
  node: Node,
  clusterMs: number,
  withValue: boolean,
): void {
  const { path } = node;
  const keyAt = path.startsWith(KEYS_PREFIX) ? KEYS_PREFIX.length : 0;
  const hasKey = keyAt < path.length;
  writer.latin1(hasKey ? '{"key":' : "{");
  if (hasKey) jsonString(writer, path, keyAt);
  if (node.isDirectory) writer.latin1(hasKey ? ',"dir":true' : '"dir":true');
  else if (withValue) {
    writer.latin1(',"value":');
    writeValue(writer, node);
  }
  if (node.expirationMs === PERMANENT) return;
  writer.latin1(`,"expiration":"${rfc3339(node.expirationMs)}"`);
  const seconds = Math.ceil((node.expirationMs - clusterMs) / MS_PER_SECOND);
  const ttl = Math.max(seconds, TTL_SECONDS_MIN);
  if (ttl !== 0) writer.latin1(`,"ttl":${ttl}`);
}

/**
 * Remembers whether escaping is needed: most values are rendered twice, also as a later prevNode.
 */
function writeValue(writer: ByteWriter, node: Node): void {
  node.isPlainJson ??= isPlainJson(node.value);
  if (node.isPlainJson) plainJsonString(writer, node.value);
  else jsonString(writer, node.value);
}

/** @param hasNodes whether the `nodes` array is open */
export function closeNode(writer: ByteWriter, node: Node, hasNodes: boolean): void {
  if (hasNodes) writer.byte(0x5d);
  const { modifiedIndex, createdIndex } = node;
  if (modifiedIndex !== 0) {
    writer.latin1(',"modifiedIndex":');
    writer.decimal(modifiedIndex);
  }
  if (createdIndex !== 0) {
    writer.latin1(',"createdIndex":');
    writer.decimal(createdIndex);
  }
  writer.byte(0x7d);
}

function withoutPrefix(path: string): string {
  if (!path.startsWith(KEYS_PREFIX)) return path;
  return path.length === KEYS_PREFIX.length ? "" : path.slice(KEYS_PREFIX.length);
}

function isRemoval(action: Action): boolean {
  return action === Action.delete || action === Action.compareAndDelete || action === Action.expire;
}
