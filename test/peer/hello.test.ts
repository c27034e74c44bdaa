import assert from "node:assert/strict";
import { test } from "node:test";
import { parsePeerAddress } from "#ringd/peer/address.js";
import {
  type Headers,
  helloHeaders,
  judgeHello,
  type PeerIdentity,
  type Roster,
} from "#ringd/peer/hello.js";

const HERE: PeerIdentity = { memberId: 0xan, clusterId: 0xcn };
const THERE: PeerIdentity = { memberId: 0xbn, clusterId: 0xcn };
const ROSTER: Roster = {
  isKnown: true,
  formatLevel: 1,
  has: (id) => id === 0xan || id === 0xbn,
  isRemoved: (id) => id === 0xdn,
};

function judged(changes: Headers, roster = ROSTER): string {
  const verdict = judgeHello({ ...helloHeaders(THERE, 0xan, [], 2), ...changes }, HERE, roster);
  if (verdict.kind === "refused") return `${verdict.status} ${verdict.reason}`;
  return `welcome ${verdict.from.toString(16)} ${verdict.isMember} ${verdict.peerUrls}`;
}

test("a member is accepted, others are rejected with a reason", () => {
  assert.equal(judged({}), "welcome b true ");
  assert.match(judged({ "x-ringd-protocol": "2" }), /^426 .*version 1 .* not "2"$/);
  assert.match(judged({ "x-ringd-protocol": undefined }), /^426 /);
  assert.match(judged({ "x-etcd-cluster-id": "cc" }), /^412 cluster ID mismatch: .* c, not cc;/);
  assert.match(judged({ "x-etcd-cluster-id": "no id" }), /^412 cluster ID mismatch/);
  assert.equal(judged({ "x-ringd-to": "f" }), "412 this is member a, not f");
  assert.match(judged({ "x-ringd-from": "" }), /^400 /);
  assert.match(judged({ "x-ringd-from": "0" }), /^400 /);
  assert.match(judged({ "x-ringd-from": "A" }), /^409 member a is this one/);
  assert.match(judged({ "x-ringd-from": "d" }), /^410 the member d has been permanently removed/);
  assert.equal(judged({ "x-ringd-from": "e" }), "404 member e is not known here");
  assert.match(judged({}, { ...ROSTER, isKnown: false }), /^503 /);
});

test("a member whose build does not support the cluster's format is told the required version", () => {
  const roster = { ...ROSTER, formatLevel: 2 };
  assert.equal(judged({}, roster), "welcome b true ");
  const why =
    /^426 the cluster writes format 2, and member b reads formats up to 1: it needs ringd 0\.2\.0 or later$/;
  assert.match(judged({ "x-ringd-format": undefined }, roster), why);
  assert.match(judged({ "x-ringd-format": "nonsense" }, roster), why);
  assert.equal(judged({ "x-ringd-format": "9" }, roster), "welcome b true ");
});

test("an unknown member is accepted if it sends its peer URLs", () => {
  const urls = "http://127.0.0.1:1,http://127.0.0.1:2";
  const stranger = { "x-ringd-from": "e", "x-ringd-peer-urls": urls };
  assert.equal(judged(stranger), `welcome e false ${urls}`);
  assert.match(judged({ ...stranger, "x-ringd-peer-urls": "ftp://x" }), /^404 /);
  assert.match(judged({ ...stranger, "x-ringd-from": "d" }), /^410 /);
});

test("peer URLs are parsed into connect options", () => {
  const targetOf = (text: string) => parsePeerAddress(text)?.target;
  assert.deepEqual(targetOf("http://10.0.0.1:2380"), { host: "10.0.0.1", port: 2380 });
  assert.deepEqual(targetOf("http://[::1]:2380"), { host: "::1", port: 2380 });
  assert.deepEqual(targetOf("unix://localhost:12345"), { path: "localhost:12345" });
  assert.equal(parsePeerAddress("https://a:1")?.isSecure, true);
  assert.equal(parsePeerAddress("ftp://a:1"), undefined);
  assert.equal(parsePeerAddress("http://a:70000"), undefined);
});
