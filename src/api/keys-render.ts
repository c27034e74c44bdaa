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
  writer.latin1(`{"action":"${ACTION_NAMES[event.action]}"`);
  if (!noValueOnSuccess || isRemoval(event.action)) {
    writer.latin1(',"node":');
    writeNode(writer, event.node, event.timeMs, !isRemoval(event.action));
    if (event.prevNode !== undefined) {
      writer.latin1(',"prevNode":');
      writeNode(writer, event.prevNode, event.timeMs, true);
    }
  }
  writer.latin1("}\n");
}

/** Status of the answer to a change that succeeded. */
export function eventStatus(event: Event): number {
  const isNew = event.action === Action.set && event.prevNode === undefined;
  return event.action === Action.create || isNew ? 201 : 200;
}

/** The answer to a GET of a file. */
export function writeFile(writer: ByteWriter, node: Node, nowMs: number): void {
  writer.latin1('{"action":"get","node":');
  writeNode(writer, node, nowMs, true);
  writer.latin1("}\n");
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

/** A node without children. */
export function writeNode(writer: ByteWriter, node: Node, nowMs: number, withValue: boolean): void {
  openNode(writer, node, nowMs, withValue);
  closeNode(writer, node, false);
}

/** `{` and all fields before `nodes`; `closeNode` writes the rest. */
export function openNode(writer: ByteWriter, node: Node, nowMs: number, withValue: boolean): void {
  const key = withoutPrefix(node.path);
  if (withValue && !node.isDirectory && isPlain(key) && isPlain(node.value)) {
    // Nearly all files. Each write is a call out of JavaScript: one instead of six halves the time.
    writer.latin1(`{"key":"${key}","value":"${node.value}"`);
  } else {
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

/** @param hasNodes the `nodes` array is open */
export function closeNode(writer: ByteWriter, node: Node, hasNodes: boolean): void {
  if (hasNodes) writer.byte(0x5d);
  const { modifiedIndex, createdIndex } = node;
  const modified = modifiedIndex === 0 ? "" : `,"modifiedIndex":${modifiedIndex}`;
  const created = createdIndex === 0 ? "" : `,"createdIndex":${createdIndex}`;
  writer.latin1(`${modified}${created}}`);
}

function withoutPrefix(path: string): string {
  if (!path.startsWith(KEYS_PREFIX)) return path;
  return path.length === KEYS_PREFIX.length ? "" : path.slice(KEYS_PREFIX.length);
}

function isRemoval(action: Action): boolean {
  return action === Action.delete || action === Action.compareAndDelete || action === Action.expire;
}
