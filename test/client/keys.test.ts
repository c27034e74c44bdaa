import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import {
  Client,
  type ClientError,
  CompareFailedError,
  DirectoryNotEmptyError,
  EtcdError,
  InvalidRequestError,
  KeyExistsError,
  KeyNotFoundError,
  NotADirectoryError,
  NotAFileError,
  RootReadOnlyError,
} from "#ringd/client/index.js";
import { type MemberKind, TestMember } from "../support/member.js";

/** `KIND=etcd` runs the tests against etcd. */
const KIND: MemberKind = process.env.KIND === "etcd" ? "etcd" : "ringd";

let member: TestMember;
let client: Client;

before(async () => {
  member = await TestMember.create(KIND);
  client = new Client({ endpoints: [member.clientUrl] });
});

after(async () => {
  await client.close();
  await member.destroy();
});

/** @returns the error that a call rejects with, of the expected class */
async function refused<T extends ClientError>(
  call: Promise<unknown>,
  Class: abstract new (...args: never[]) => T,
): Promise<T> {
  const error: unknown = await call.then(
    () => assert.fail("it was accepted"),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof Class, `${error}`);
  return error;
}

test("set, get, update and delete a file", async () => {
  const set = await client.set("/file/a", "one");
  assert.equal(set.action, "set");
  assert.equal(set.status, 201);
  assert.equal(set.node.key, "/file/a");
  assert.equal(set.node.value, "one");
  assert.equal(set.prevNode, undefined);
  assert.equal(set.index, set.node.modifiedIndex);
  assert.equal(set.endpoint, member.clientUrl);
  assert.match(set.clusterId, /^[0-9a-f]+$/);
  assert.ok(set.raftIndex > 0 && set.raftTerm > 0);

  const again = await client.set("/file/a", "two");
  assert.equal(again.status, 200);
  assert.equal(again.prevNode?.value, "one");

  const update = await client.update("/file/a", "three");
  assert.equal(update.action, "update");
  assert.equal(update.node.createdIndex, again.node.createdIndex);
  for (const options of [{}, { quorum: true }, { recursive: true, sorted: true }]) {
    assert.equal((await client.get("/file/a", options)).node.value, "three");
  }

  const gone = await client.delete("/file/a");
  assert.equal(gone.action, "delete");
  assert.equal(gone.node.value, undefined);
  assert.equal(gone.prevNode?.value, "three");
  const error = await refused(client.get("/file/a"), KeyNotFoundError);
  assert.equal(error.code, "KEY_NOT_FOUND");
  assert.equal(error.errorCode, 100);
  assert.equal(error.reason, "Key not found");
  assert.equal(error.cause, "/file/a");
  assert.equal(error.index, gone.index);
  assert.equal(error.status, 404);
  assert.equal(error.endpoint, member.clientUrl);
  assert.equal(error.message, `100: Key not found (/file/a) [${gone.index}]`);
  assert.equal(error.name, "KeyNotFoundError");
  assert.ok(error instanceof EtcdError);
});

test("values are text or bytes, and are returned as text", async () => {
  const text = "a+b c&d=e%f\n\u0000\u2028 ü 日 \u{1f600}";
  assert.equal((await client.set("/value", text)).node.value, text);
  assert.equal((await client.get("/value")).node.value, text);
  assert.equal((await client.set("/value", Buffer.from(text))).node.value, text);
  assert.equal((await client.set("/value", "")).node.value, "");
  const long = "x".repeat(2 ** 20);
  assert.equal((await client.set("/value", long)).node.value, long);
});

test("keys may be any text", async () => {
  for (const key of ["/k/a b", "/k/a?b#c", "/k/ü/日", "/k/100%", "/k/a+b", "/k/a&b=c;d"]) {
    assert.equal((await client.set(key, "v")).node.key, key);
    assert.equal((await client.get(key)).node.key, key);
  }
});

test("create fails for an existing key", async () => {
  assert.equal((await client.create("/create", "v")).action, "create");
  const error = await refused(client.create("/create", "w"), KeyExistsError);
  assert.deepEqual([error.errorCode, error.cause, error.status], [105, "/create", 412]);
});

test("update fails for a missing key", async () => {
  const error = await refused(client.update("/no/such", "v"), KeyNotFoundError);
  assert.equal(error.cause, "/no");
});

test("compareAndSwap compares value, index, or both", async () => {
  const { node } = await client.set("/swap", "one");
  const two = await client.compareAndSwap("/swap", "two", { prevValue: "one" });
  assert.equal(two.action, "compareAndSwap");
  const { modifiedIndex: prevIndex } = two.node;
  await client.compareAndSwap("/swap", "three", { prevIndex, prevValue: "two" });
  const wrong = client.compareAndSwap("/swap", "x", { prevValue: "two", prevIndex });
  const error = await refused(wrong, CompareFailedError);
  assert.equal(error.errorCode, 101);
  assert.match(error.cause, /^\[two != three\] \[\d+ != \d+\]$/);
  assert.equal((await client.get("/swap")).node.createdIndex, node.createdIndex);
  await assert.rejects(client.compareAndSwap("/swap", "x", {}), TypeError);
  await assert.rejects(client.compareAndSwap("/swap", "x", { prevValue: "" }), TypeError);
  assert.equal((await client.get("/swap")).node.value, "three");
});

test("compareAndDelete removes only an unchanged key", async () => {
  await client.set("/cad", "one");
  await refused(client.compareAndDelete("/cad", { prevValue: "two" }), CompareFailedError);
  await assert.rejects(client.compareAndDelete("/cad", {}), TypeError);
  const gone = await client.compareAndDelete("/cad", { prevValue: "one" });
  assert.equal(gone.action, "compareAndDelete");
});

test("createInOrder generates names in sorted order", async () => {
  const first = await client.createInOrder("/queue", "a");
  const second = await client.createInOrder("/queue", "b", { ttl: 100 });
  assert.match(first.node.key, /^\/queue\/\d{20}$/);
  assert.equal(second.node.ttl, 100);
  const keys = (await client.list("/queue", { sorted: true })).map(({ key }) => key);
  assert.deepEqual(keys, [first.node.key, second.node.key]);
});

test("directories are created, listed, given a TTL and removed", async () => {
  assert.equal((await client.mkdir("/dir")).node.dir, true);
  await refused(client.mkdir("/dir"), KeyExistsError);
  await refused(client.setDir("/dir"), NotAFileError);
  assert.equal((await client.updateDir("/dir", { ttl: 50 })).node.ttl, 50);
  assert.equal((await client.updateDir("/dir")).node.ttl, undefined);
  assert.deepEqual(await client.list("/dir"), []);
  await client.set("/dir/b/c", "1");
  await client.set("/dir/a", "2");
  const listed = await client.list("/dir", { sorted: true });
  assert.deepEqual(
    listed.map(({ key, nodes }) => [key, nodes]),
    [
      ["/dir/a", undefined],
      ["/dir/b", undefined],
    ],
  );
  const deep = await client.list("/dir", { sorted: true, recursive: true });
  assert.equal(deep[1]?.nodes?.[0]?.key, "/dir/b/c");
  assert.equal((await client.list("/dir/a"))[0]?.value, "2");
  await refused(client.delete("/dir"), NotAFileError);
  await refused(client.delete("/dir", { dir: true }), DirectoryNotEmptyError);
  assert.equal((await client.delete("/dir", { recursive: true })).node.dir, true);
  await client.setDir("/dir");
  await client.delete("/dir", { dir: true });
});

test("a file cannot have children", async () => {
  await client.set("/plain", "v");
  const error = await refused(client.set("/plain/below", "v"), NotADirectoryError);
  assert.deepEqual([error.errorCode, error.cause], [104, "/plain"]);
});

test("the root can be read but not written", async () => {
  const { node } = await client.get("/");
  assert.equal(node.key, "/");
  assert.equal(node.dir, true);
  assert.ok((await client.list()).length > 0);
  const error = await refused(client.set("/", "v"), RootReadOnlyError);
  assert.equal(error.errorCode, 107);
});

test("a key expires, and a refresh renews its TTL without a new value", async () => {
  const set = await client.set("/ttl", "v", { ttl: 500 });
  assert.equal(set.node.ttl, 500);
  assert.ok(Date.parse(set.node.expiration ?? "") > Date.now() + 400_000);
  const refreshed = await client.refresh("/ttl", 900);
  assert.deepEqual([refreshed.node.value, refreshed.node.ttl], ["v", 900]);
  await refused(client.refresh("/ttl-none", 5), KeyNotFoundError);
  await client.mkdir("/ttl-dir", { ttl: 5 });
  assert.equal((await client.refresh("/ttl-dir", 800, { dir: true })).node.ttl, 800);
  await assert.rejects(client.set("/ttl", "v", { ttl: 1.5 }), TypeError);
  await assert.rejects(client.set("/ttl", "v", { ttl: -1 }), TypeError);
  const { index } = await client.set("/short", "v", { ttl: 1 });
  for await (const item of client.watch("/short", { afterIndex: index })) {
    assert.equal(item.kind === "event" && item.action, "expire");
    break;
  }
});

test("a rejected parameter is an InvalidRequestError", async () => {
  const error = await refused(
    client.set("/x", "v", { refresh: true, ttl: 5 }),
    InvalidRequestError,
  );
  assert.deepEqual([error.errorCode, error.index], [211, 0]);
  await refused(client.set("/x", "v", { prevValue: "" }), InvalidRequestError);
});
