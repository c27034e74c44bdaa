import { ACTION_NAMES, Action, type Event } from "../store/event.js";
import { KEYS_PREFIX, type Node, PERMANENT } from "../store/node.js";
import type { Refusal } from "../store/refusal.js";
import { type AnswerHead, ContentKind } from "./answer.js";
import type { ByteWriter } from "./byte-writer.js";
import { V2_ERRORS } from "./errors.js";
import { isPlain, jsonString, rfc3339 } from "./json.js";

const MS_PER_SECOND = 1000;

/** The body of a change: an answer to its writer, or a line for a watch. Ends in a newline. */
export function writeEvent(writer: ByteWriter, event: Event, noValueOnSuccess: boolean): void {
  const { action, node, prevNode, timeMs } = event;
  const opening = `{"action":"${ACTION_NAMES[action]}"`;
  if (noValueOnSuccess && !isRemoval(action)) {
    writer.latin1(`${opening}}\n`);
    return;
  }
  openNode(writer, node, timeMs, !isRemoval(action), `${opening},"node":`);
  closeNode(writer, node, false, prevNode === undefined ? "}\n" : ',"prevNode":');
  if (prevNode === undefined) return;
  openNode(writer, prevNode, timeMs, true);
  closeNode(writer, prevNode, false, "}\n");
}

/** Status of the answer to a change that succeeded. */
export function eventStatus(event: Event): number {
  const isNew = event.action === Action.set && event.prevNode === undefined;
  return event.action === Action.create || isNew ? 201 : 200;
}

/** The answer to a GET of a file. */
export function writeFile(writer: ByteWriter, node: Node, nowMs: number): void {
  openNode(writer, node, nowMs, true, '{"action":"get","node":');
  closeNode(writer, node, false, "}\n");
}

export function writeRefusal(writer: ByteWriter, refusal: Refusal): AnswerHead {
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

export function keysHead(status: number, etcdIndex: number): AnswerHead {
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

/**
 * `{` and all fields before `nodes`; `closeNode` writes the rest.
 *
 * @param before ASCII, written first
 */
export function openNode(
  writer: ByteWriter,
  node: Node,
  nowMs: number,
  withValue: boolean,
  before = "",
): void {
  const key = withoutPrefix(node.path);
  if (withValue && !node.isDirectory && isPlain(key) && isPlain(node.value)) {
    // Nearly all files. Each write is a call out of JavaScript: one instead of six halves the time.
    writer.latin1(`${before}{"key":"${key}","value":"${node.value}"`);
  } else {
    writer.latin1(before);
    openUnusual(writer, node, key, withValue);
  }
  if (node.expirationMs !== PERMANENT) {
    writer.latin1(`,"expiration":"${rfc3339(node.expirationMs)}"`);
    const ttl = Math.ceil((node.expirationMs - nowMs) / MS_PER_SECOND);
    if (ttl !== 0) writer.latin1(`,"ttl":${ttl}`);
  }
}

function openUnusual(writer: ByteWriter, node: Node, key: string, withValue: boolean): void {
  writer.byte(0x7b);
  if (key !== "") {
    writer.latin1('"key":');
    jsonString(writer, key);
  }
  if (node.isDirectory) {
    writer.latin1(key === "" ? '"dir":true' : ',"dir":true');
  } else if (withValue) {
    writer.latin1(',"value":');
    jsonString(writer, node.value);
  }
}

/**
 * @param hasNodes the `nodes` array is open
 * @param behind ASCII, written last
 */
export function closeNode(writer: ByteWriter, node: Node, hasNodes: boolean, behind = ""): void {
  if (hasNodes) writer.byte(0x5d);
  const { modifiedIndex, createdIndex } = node;
  const modified = modifiedIndex === 0 ? "" : `,"modifiedIndex":${modifiedIndex}`;
  const created = createdIndex === 0 ? "" : `,"createdIndex":${createdIndex}`;
  writer.latin1(`${modified}${created}}${behind}`);
}

function withoutPrefix(path: string): string {
  if (!path.startsWith(KEYS_PREFIX)) return path;
  return path.length === KEYS_PREFIX.length ? "" : path.slice(KEYS_PREFIX.length);
}

function isRemoval(action: Action): boolean {
  return action === Action.delete || action === Action.compareAndDelete || action === Action.expire;
}
