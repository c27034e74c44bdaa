import assert from "node:assert/strict";
import { test } from "node:test";
import type { MemberLimits } from "#ringd/member/limits.js";
import { OneMember } from "./one-member.js";

const KIB = 1024;
const PATH = "/v2/admin/snapshot";

/** A member with 400 KiB in /d. */
function withKeys(limits: Partial<MemberLimits> = {}): OneMember {
  const member = new OneMember(limits);
  for (let i = 0; i < 100; i++) {
    const put = member.ask("put", `/v2/keys/d/${i}`, `value=${"x".repeat(4 * KIB)}`);
    member.until("a key is there", () => put.status === 201);
  }
  return member;
}

test("beyond the snapshots that may be sent at a time, another is rejected until one ends", () => {
  const member = withKeys({ snapshotsMax: 2 });
  const asked = [PATH, `${PATH}?quorum=true`, PATH].map((path) => member.ask("get", path));
  member.until("all have ended", () => asked.every(({ isOpen }) => !isOpen));
  assert.deepEqual(asked.map(({ status }) => status).sort(), [200, 200, 503]);
  const rejected = asked.find(({ status }) => status === 503);
  assert.equal(rejected?.body, '{"message":"etcdserver: too many requests"}');
  assert.equal(member.metric("limitReached", "snapshots"), 1);
  const again = member.ask("get", PATH);
  member.until("there is room again", () => !again.isOpen);
  assert.equal(again.status, 200);
  member.until("none is open", () => member.metric("openSnapshots") === 0);
});

test("a snapshot that keeps too much of what writes replaced is cut", () => {
  const member = withKeys({ listingViewBytesMax: 64 * KIB });
  const body = "value=".padEnd(4 * KIB, "y");
  // A frontend that takes nothing holds it up.
  const get = member.ask("get", PATH);
  const puts = Array.from({ length: 30 }, (_, i) => member.ask("put", `/v2/keys/d/${i}`, body));
  member.turnBut(0, 40);
  member.until("writes are done", () => puts.every(({ isOpen }) => !isOpen));
  member.until("the snapshot has ended", () => !get.isOpen);
  assert.ok(get.wasCut);
  assert.equal(member.metric("limitReached", "listing_views"), 1);
});

test("a small store that is written to without end cuts no snapshot", () => {
  const member = new OneMember({ listingViewBytesMax: 256 * KIB }, 16 * KIB);
  for (let i = 0; i < 30; i++) member.ask("put", `/v2/keys/${i}`, `value=${"x".repeat(4 * KIB)}`);
  member.until("they are there", () => member.metric("storeBytes") > 30 * 4 * KIB);
  const get = member.ask("get", PATH);
  const puts = Array.from({ length: 200 }, () =>
    member.ask("put", "/v2/keys/0", "value=".padEnd(4 * KIB, "y")),
  );
  member.turnBut(0, 80);
  member.until("writes are done", () => puts.every(({ isOpen }) => !isOpen));
  member.until("the snapshot has ended", () => !get.isOpen);
  assert.ok(!get.wasCut);
});

test("a client that leaves ends its snapshot", () => {
  const member = withKeys();
  const get = member.ask("get", PATH);
  member.until("it has begun", () => get.status === 200);
  get.giveUp();
  member.until("it is forgotten", () => member.metric("openSnapshots") === 0);
});

test("a client that leaves while its snapshot waits for a read index gets none made", () => {
  const member = withKeys();
  const get = member.ask("get", `${PATH}?quorum=true`);
  get.giveUp();
  let open = 0;
  for (let n = 0; n < 50; n++) {
    member.turn();
    open = Math.max(open, member.metric("openSnapshots"));
  }
  assert.equal(get.status, 0);
  assert.equal(open, 0);
});

test("who gets a snapshot is in the audit log", () => {
  const member = new OneMember({}, 65_536, 1, undefined, ["--audit-log", "stdout"]);
  const get = member.ask("get", `${PATH}?quorum=true`);
  member.until("it has ended", () => !get.isOpen);
  const lines = member.takeAudit();
  assert.equal(lines.length, 1);
  const { kind, method, path, status, reason } = lines[0] ?? {};
  assert.deepEqual([kind, method, path, status], ["snapshot", "GET", PATH, 200]);
  assert.match(String(reason), /^etcd index \d+$/);
});

test("other methods and values are rejected", () => {
  const member = new OneMember({});
  const expected = [
    ["head", PATH, 405],
    ["put", PATH, 405],
    ["delete", PATH, 405],
    ["get", `${PATH}?quorum=maybe`, 400],
    ["get", `${PATH}?quorum=%zz`, 400],
    ["get", `${PATH}/`, 404],
    ["get", "/v2/admin", 404],
  ] as const;
  for (const [method, path, status] of expected) {
    const asked = member.ask(method, path);
    member.until("it is answered", () => !asked.isOpen);
    assert.equal(asked.status, status, `${method} ${path}`);
  }
});
