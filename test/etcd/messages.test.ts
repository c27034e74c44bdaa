import assert from "node:assert/strict";
import { test } from "node:test";
import { decodeEtcdCommand, decodeEtcdRequest } from "#ringd/etcd/messages.js";
import { ProtobufError } from "#ringd/etcd/protobuf.js";
import { bytes, uint } from "./etcd2-log.js";

/** Requests in entries of etcd's log, of several versions. */

const ID = 0x8e9e05c52164694dn;
const text = (field: number, content: string) => bytes(field, Buffer.from(content));
const header = bytes(100, uint(1, 5n));

test("of 2.x: a bare request, whatever its method", () => {
  for (const method of ["PUT", "POST", "DELETE", "QGET", "SYNC"]) {
    const bare = Buffer.concat([uint(1, ID), text(2, method), text(3, "/1/a"), text(4, "v")]);
    const command = decodeEtcdCommand(bare);
    assert.equal(command.kind, "v2");
    if (command.kind !== "v2") return;
    assert.deepEqual({ ...command.request }, { ...decodeEtcdRequest(bare) });
    assert.equal(command.request.method, method);
    assert.equal(command.request.path, "/1/a");
  }
});

test("of 3.x: a request in a request, or one of the v3 API", () => {
  const inner = [text(2, "PUT"), text(3, "/1/a"), text(4, "\u00e9"), uint(8, 0n), uint(9, 7n)];
  const wrapped = Buffer.concat([header, bytes(2, Buffer.concat(inner))]);
  const command = decodeEtcdCommand(wrapped);
  assert.equal(command.kind, "v2");
  if (command.kind !== "v2") return;
  const { value, prevExist, expirationNs, isRefresh } = command.request;
  assert.deepEqual(
    { value, prevExist, expirationNs, isRefresh },
    { value: "\u00c3\u00a9", prevExist: false, expirationNs: 7n, isRefresh: false },
  );
  const put = bytes(4, Buffer.concat([text(1, "key"), text(2, "value")]));
  assert.deepEqual(decodeEtcdCommand(Buffer.concat([header, put])), { kind: "v3" });
});

test("of 3.5: cluster version and members' attributes as requests of their own", () => {
  const version = bytes(1300, text(1, "3.5.0"));
  assert.deepEqual(decodeEtcdCommand(Buffer.concat([header, version])), {
    ...{ kind: "version", version: "3.5.0" },
  });
  const attributes = Buffer.concat([
    text(1, "n\u00e9"),
    text(2, "http://a:1"),
    text(2, "http://b:1"),
  ]);
  const set = bytes(1301, Buffer.concat([uint(1, ID), bytes(2, attributes)]));
  assert.deepEqual(decodeEtcdCommand(Buffer.concat([header, set])), {
    ...{ kind: "attributes", memberId: ID, name: "n\u00e9" },
    clientUrls: ["http://a:1", "http://b:1"],
  });
});

test("bytes that are neither", () => {
  for (const hex of ["ff", "0aff", "0bff", "12056162"]) {
    assert.throws(() => decodeEtcdCommand(Buffer.from(hex, "hex")), ProtobufError, hex);
  }
});
