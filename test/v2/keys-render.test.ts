import assert from "node:assert/strict";
import { test } from "node:test";
import { Action, Event } from "#ringd/store/event.js";
import { Node, PERMANENT } from "#ringd/store/node.js";
import { ErrorCode, Refusal } from "#ringd/store/refusal.js";
import { ByteWriter } from "#ringd/v2/byte-writer.js";
import { V2_ERRORS } from "#ringd/v2/errors.js";
import { eventStatus, writeEvent, writeFile, writeRefusal } from "#ringd/v2/keys-render.js";

const NOW_MS = 1_795_242_600_000; // 2026-11-21T06:30:00Z

function text(write: (writer: ByteWriter) => void): string {
  const writer = new ByteWriter();
  write(writer);
  return writer.bytes.toString("utf8", 0, writer.length);
}

function file(path: string, value: string, index: number, expirationMs = PERMANENT): Node {
  return new Node(path, value, false, index, index, expirationMs);
}

function shown(event: Event, noValueOnSuccess = false): string {
  return text((writer) => writeEvent(writer, event, noValueOnSuccess));
}

test("a set shows the new node and the old one", () => {
  const event = new Event(Action.set, file("/1/a", "", 8), file("/1/a", "x<", 7), NOW_MS, false);
  assert.equal(
    shown(event),
    '{"action":"set","node":{"key":"/a","value":"","modifiedIndex":8,"createdIndex":8},"prevNode":{"key":"/a","value":"x\\u003c","modifiedIndex":7,"createdIndex":7}}\n',
  );
});

test("removals show no value, only a directory's mark", () => {
  const node = new Node("/1/d", "", true, 5, 9, PERMANENT);
  const prev = new Node("/1/d", "", true, 5, 5, PERMANENT);
  assert.equal(
    shown(new Event(Action.delete, node, prev, NOW_MS, false)),
    '{"action":"delete","node":{"key":"/d","dir":true,"modifiedIndex":9,"createdIndex":5},"prevNode":{"key":"/d","dir":true,"modifiedIndex":5,"createdIndex":5}}\n',
  );
  const gone = new Node("/1/a", "", false, 7, 9, PERMANENT);
  const event = new Event(Action.compareAndDelete, gone, file("/1/a", "v", 7), NOW_MS, false);
  assert.equal(
    shown(event),
    '{"action":"compareAndDelete","node":{"key":"/a","modifiedIndex":9,"createdIndex":7},"prevNode":{"key":"/a","value":"v","modifiedIndex":7,"createdIndex":7}}\n',
  );
});

test("noValueOnSuccess leaves the action, except of removals", () => {
  const prev = file("/1/a", "v", 7);
  for (const action of [Action.set, Action.create, Action.update, Action.compareAndSwap]) {
    const line = shown(new Event(action, file("/1/a", "w", 8), prev, NOW_MS, false), true);
    assert.match(line, /^\{"action":"[a-zA-Z]+"\}\n$/);
  }
  const removal = new Event(Action.delete, file("/1/a", "", 8), prev, NOW_MS, false);
  assert.equal(shown(removal, true), shown(removal, false));
});

test("a ttl is rounded up, left out at zero, negative when overdue", () => {
  const cases: readonly (readonly [number, string])[] = [
    [5000, '"expiration":"2026-11-21T06:30:05Z","ttl":5,'],
    [4001, '"expiration":"2026-11-21T06:30:04.001Z","ttl":5,'],
    [1, '"expiration":"2026-11-21T06:30:00.001Z","ttl":1,'],
    [0, '"expiration":"2026-11-21T06:30:00Z",'],
    [-999, '"expiration":"2026-11-21T06:29:59.001Z",'],
    [-1000, '"expiration":"2026-11-21T06:29:59Z","ttl":-1,'],
    [-2500, '"expiration":"2026-11-21T06:29:57.5Z","ttl":-2,'],
  ];
  for (const [restMs, fields] of cases) {
    const node = file("/1/a", "v", 7, NOW_MS + restMs);
    assert.equal(
      text((writer) => writeFile(writer, node, NOW_MS)),
      `{"action":"get","node":{"key":"/a","value":"v",${fields}"modifiedIndex":7,"createdIndex":7}}\n`,
    );
  }
});

test("a created key responds with 201, all else with 200", () => {
  const node = file("/1/a", "v", 8);
  const created: string[] = [];
  for (const [name, action] of Object.entries(Action)) {
    if (eventStatus(new Event(action, node, undefined, NOW_MS, false)) === 201) created.push(name);
    const status = eventStatus(new Event(action, node, node, NOW_MS, false));
    assert.equal(status, action === Action.create ? 201 : 200);
  }
  assert.deepEqual(created, ["create", "set"]);
});

test("rejections have their status, their index and no Raft headers", () => {
  const writer = new ByteWriter();
  const head = writeRefusal(writer, new Refusal(ErrorCode.keyNotFound, "/1/a\xc3\xa9\xff", 12));
  assert.equal(
    writer.bytes.toString("utf8", 0, writer.length),
    '{"errorCode":100,"message":"Key not found","cause":"/aé\\ufffd","index":12}\n',
  );
  assert.equal(head.status, 404);
  assert.equal(head.etcdIndex, 12);
  assert.equal(head.hasRaft, false);
  assert.equal(head.hasClusterId, true);
});

test("the user's root is / in a cause that names it, and an empty cause is left out", () => {
  const root = text((writer) => writeRefusal(writer, new Refusal(ErrorCode.rootReadOnly, "/", 7)));
  assert.equal(root, '{"errorCode":107,"message":"Root is read only","cause":"/","index":7}\n');
  const none = text((writer) => writeRefusal(writer, new Refusal(ErrorCode.notFile, "/1", 7)));
  assert.equal(none, '{"errorCode":102,"message":"Not a file","index":7}\n');
  const compare = new Refusal(ErrorCode.compareFailed, "[a != b] [1 != 2]", 7);
  assert.equal(
    text((writer) => writeRefusal(writer, compare)),
    '{"errorCode":101,"message":"Compare failed","cause":"[a != b] [1 != 2]","index":7}\n',
  );
});

test("every error code has a text and a status of its class", () => {
  for (const code of Object.values(ErrorCode)) {
    assert.notEqual(V2_ERRORS[code].message, "");
    assert.equal(V2_ERRORS[code].status >= 500, [300, 301, 302].includes(code));
  }
});

test("a deadline centuries ago is shown as far back as Go's time spans reach", () => {
  // 18446744073.709551616 seconds are 2^64 nanoseconds: from 9000000000, etcd wraps to this.
  const longAgo = file("/1/a", "2", 5, NOW_MS + (9_000_000_000 - 2 ** 64 / 1e9) * 1000);
  const body = shown(new Event(Action.compareAndSwap, longAgo, undefined, NOW_MS, false));
  assert.match(body, /"expiration":"1727-07-14T[^"]+","ttl":-9223372036,/);
});
