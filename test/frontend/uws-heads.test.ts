import assert from "node:assert/strict";
import { test } from "node:test";
import { HeadText } from "#ringd/frontend/head-text.js";
import { UwsHeads } from "#ringd/frontend/uws-heads.js";
import { ResponseRecord } from "#ringd/messages/requests.js";
import { ContentKind } from "#ringd/v2/response.js";

function headOf(changes: Partial<ResponseRecord>): ResponseRecord {
  const usual = { status: 200, contentKind: ContentKind.json, hasClusterId: true, hasRaft: true };
  return Object.assign(new ResponseRecord(), usual, changes);
}

function textOf(heads: UwsHeads, head: ResponseRecord, origin = ""): string {
  const made = heads.of(head, origin);
  return typeof made === "string" ? made : Buffer.from(made).toString("latin1");
}

test("a head that is written over an earlier one is the head made as text", () => {
  const heads = new UwsHeads(new HeadText(0xabcn, ["http://a"]));
  const numbers = [0, 1, 9, 10, 11, 99, 100, 5, 999_999, 1_000_000, 2 ** 31, 2 ** 53 - 1, 10, 0];
  for (const status of [200, 201, 200, 404, 299]) {
    for (const [i, etcdIndex] of numbers.entries()) {
      const raftIndex = numbers.at(-i) as number;
      const head = headOf({ status, etcdIndex, raftIndex, raftTerm: 1 + (i >> 2) });
      assert.equal(textOf(heads, head), heads.text(head, ""));
    }
  }
});

test("a head of another kind in between changes nothing", () => {
  const heads = new UwsHeads(new HeadText(1n, ["http://a"]));
  const usual = { etcdIndex: 12, raftIndex: 34, raftTerm: 5 };
  const all: readonly (readonly [Partial<ResponseRecord>, string?])[] = [
    [usual],
    [{ ...usual, contentKind: ContentKind.text }],
    [{ ...usual, hasClusterId: false }],
    [{ ...usual, hasRaft: false }],
    [{ ...usual, etcdIndex: -1 }],
    [{ ...usual, allow: "GET" }],
    [{ ...usual, location: "/v2/keys" }],
    [usual, "http://a"],
    [usual, "http://b"],
    [{ ...usual, raftTerm: 6 }],
    [usual],
  ];
  for (const [changes, origin] of all) {
    const head = headOf(changes);
    assert.equal(textOf(heads, head, origin), heads.text(head, origin ?? ""));
  }
});

test("a head that was made before the cluster was known is not sent afterwards", () => {
  const text = new HeadText(0n, []);
  const heads = new UwsHeads(text);
  const head = headOf({ etcdIndex: 1, raftIndex: 2, raftTerm: 3 });
  assert.match(textOf(heads, head), /X-Etcd-Cluster-Id: 0\r\n/);
  text.setClusterId(0xdn);
  assert.match(textOf(heads, head), /X-Etcd-Cluster-Id: d\r\n/);
});
