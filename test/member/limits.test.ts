import assert from "node:assert/strict";
import { test } from "node:test";
import { type MemberLimits, memberLimits } from "#ringd/member/limits.js";
import { NO_LIMITS, storeLimits } from "#ringd/process/heap.js";
import { type Asked, OneMember } from "./one-member.js";

const KIB = 1024;
const TOO_MANY =
  '{"errorCode":300,"message":"Raft Internal Error","cause":"etcdserver: too many requests","index":0}\n';

function assertRejected(asked: Asked): void {
  assert.deepEqual([asked.status, asked.body, asked.isOpen], [500, TOO_MANY, false]);
}

/** A member with keys of `valueBytes` bytes in /d. */
function withKeys(
  limits: Partial<MemberLimits>,
  keys: number,
  valueBytes: number,
  ringBytes?: number,
): OneMember {
  const member = new OneMember(limits, ringBytes);
  for (let i = 0; i < keys; i++) {
    const put = member.ask("put", `/v2/keys/d/${i}`, `value=${"x".repeat(valueBytes)}`);
    member.until("a key is there", () => put.status === 201);
  }
  return member;
}

for (const [what, limits] of [
  ["number", { watchesMax: 3 }],
  ["bytes", { watchBytesMax: 3 * 300 }],
] as const) {
  test(`beyond the ${what} of watches that may be open, another is rejected until one ends`, () => {
    const member = new OneMember(limits);
    const open = ["a?wait=true", "b?wait=true&stream=true", "c?wait=true&recursive=true"].map(
      (target) => member.ask("get", `/v2/keys/${target}`),
    );
    member.until("they are open", () => open.every(({ status }) => status === 200));
    const above = member.ask("get", "/v2/keys/d?wait=true");
    member.until("the next is answered", () => !above.isOpen);
    assertRejected(above);
    assert.equal(member.metric("storeWatchers"), 3);
    assert.equal(member.metric("limitReached", "watches"), 1);

    const put = member.ask("put", "/v2/keys/a", "value=1");
    member.until(
      "a watch ends with its event",
      () => put.status === 201 && open[0]?.isOpen === false,
    );
    const past = member.ask("get", "/v2/keys/a?wait=true&waitIndex=1");
    const next = member.ask("get", "/v2/keys/d?wait=true");
    member.until("there is room", () => next.status === 200);
    assert.equal(past.isOpen, false);
    const late = member.ask("get", `/v2/keys/a?wait=true&waitIndex=1`);
    member.until("what the history answers needs no room", () => !late.isOpen);
    assert.match(late.body, /"value":"1"/);

    open[1]?.giveUp();
    member.until("a client leaves", () => member.metric("storeWatchers") === 2);
    assert.ok(member.metric("watchBytes") > 2 * 200);
  });
}

test("beyond the listings that may be open, another is rejected until one ends", () => {
  const member = withKeys({ listingsMax: 2 }, 40, 4 * KIB);
  const listings = [
    member.ask("get", "/v2/keys/d"),
    member.ask("head", "/v2/keys/d"),
    member.ask("get", "/v2/keys/d?recursive=true"),
    member.ask("head", "/v2/keys/d"),
  ];
  member.until("all have ended", () => listings.every(({ isOpen }) => !isOpen));
  assert.deepEqual(
    listings.map(({ status }) => status),
    [200, 200, 500, 500],
  );
  assertRejected(listings[2] as Asked);
  assert.equal(JSON.parse(listings[0]?.body ?? "").node.nodes.length, 40);
  assert.equal(member.metric("limitReached", "listings"), 2);
  const short = member.ask("get", "/v2/keys/d/1");
  const again = member.ask("get", "/v2/keys/d");
  member.until("there is room again", () => !again.isOpen && !short.isOpen);
  assert.deepEqual([again.status, short.status], [200, 200]);
});

test("listings end, the oldest first, when they keep too much of what writes replaced", () => {
  const member = withKeys({ listingViewBytesMax: 64 * KIB }, 100, 4 * KIB);
  const body = "value=".padEnd(4 * KIB, "y");
  // A frontend that takes nothing holds up its listings; others write through another member.
  const get = member.ask("get", "/v2/keys/d");
  const head = member.ask("head", "/v2/keys/d");
  const puts = Array.from({ length: 30 }, (_, i) => member.ask("put", `/v2/keys/d/${i}`, body));
  member.turnBut(0, 40);
  member.until("writes are done", () => puts.every(({ isOpen }) => !isOpen));
  member.until("the listings have ended", () => !get.isOpen && !head.isOpen);
  assert.equal(member.metric("openListings"), 0);
  assert.ok(get.wasCut, "its answer was in the middle");
  assertRejected(head);
  assert.equal(member.metric("limitReached", "listing_views"), 2);
});

test("a listing leaves most of a frontend's ring to the responses of others", () => {
  const member = withKeys({}, 64, 60 * KIB, 4096 * KIB);
  const get = member.ask("get", "/v2/keys/d");
  member.turnBut(0, 100);
  assert.ok(member.unreadResponseBytes(0) > 512 * KIB);
  assert.ok(member.unreadResponseBytes(0) < 640 * KIB);
  member.until("it goes on as the frontend takes it", () => !get.isOpen);
  assert.equal(JSON.parse(get.body).node.nodes.length, 64);
});

test("beyond the membership changes that may be open, another is rejected", () => {
  const member = new OneMember({ changesMax: 2 });
  const changes = [1, 2, 3].map((i) =>
    member.askJson("post", "/v2/members", { peerURLs: [`http://127.0.0.1:300${i}`] }),
  );
  member.until("the third is answered", () => changes[2]?.isOpen === false);
  assert.equal(changes[2]?.status, 500);
  assert.equal(changes[2]?.body, '{"message":"etcdserver: too many requests"}');
  assert.equal(member.metric("limitReached", "membership_changes"), 1);
  member.until("the others are", () => changes.every(({ isOpen }) => !isOpen));
  assert.equal(changes[0]?.status, 201, "a member alone can be joined by one more");
  const above = member.askJson("post", "/v2/members", { peerURLs: ["http://127.0.0.1:3004"] });
  member.until("there is room again", () => !above.isOpen);
  assert.equal(member.metric("limitReached", "membership_changes"), 1);
});

test("watches of a frontend that takes no responses end, and those of another go on", () => {
  const member = new OneMember({ responseBytesMax: 32 * KIB }, 16 * KIB, 2);
  const watch = (frontend: number, query: string) =>
    member.ask("get", `/v2/keys/d?wait=true&recursive=true${query}`, undefined, frontend);
  const here = [watch(0, ""), watch(0, "&stream=true")];
  const there = watch(1, "&stream=true");
  member.until("they are open", () => [...here, there].every(({ status }) => status === 200));
  const body = `value=${"x".repeat(8 * KIB)}`;
  let puts = 0;
  while (member.metric("limitReached", "responses") === 0) {
    member.ask("put", `/v2/keys/d/${puts++}`, body, 1);
    member.turnBut(0, 20);
    assert.ok(puts < 50, "the queue has a limit");
    assert.ok(member.metric("responseQueueBytes") < 64 * KIB);
  }
  assert.equal(member.metric("storeWatchers"), 1);
  assert.deepEqual(member.warnings, [
    "ended all watches of a frontend that does not take its responses",
  ]);
  member.until("the frontend takes what waits for it", () => here.every(({ isOpen }) => !isOpen));
  assert.deepEqual(
    here.map(({ wasCut }) => wasCut),
    [false, true],
    "the long poll had its event",
  );
  assert.ok(there.isOpen && there.body.split("\n").length > puts, "it saw every event");
  const again = watch(0, "&waitIndex=1");
  member.until("its clients go on", () => !again.isOpen);
  assert.match(again.body, /"key":"\/d\/0"/);
});

for (const query of ["", "?quorum=true"]) {
  test(`a batch of requests${query} waits while its responses do`, () => {
    const member = withKeys({ batchResponseBytesMax: 32 * KIB }, 1, 16 * KIB);
    const gets = Array.from({ length: 100 }, () => member.ask("get", `/v2/keys/d/0${query}`));
    member.turnBut(0, 20);
    const queued = member.metric("responseQueueBytes");
    assert.ok(queued > 0 && queued <= 64 * KIB, `${queued} bytes wait`);
    member.until("all are answered", () => gets.every(({ status }) => status === 200));
  });
}

test("of the core's heap, a full store, watches and listings leave room for writes", () => {
  const heapBytes = 2 ** 30;
  const { watchBytesMax, listingViewBytesMax } = memberLimits(heapBytes);
  const { quotaBytes, heapBytes: fillBytes } = storeLimits(0, heapBytes);
  assert.ok(quotaBytes + watchBytesMax + listingViewBytesMax < 0.95 * fillBytes);
});

test("the memory of open watches counts where writes are admitted", () => {
  const limits = { ...NO_LIMITS, quotaBytes: 20_000, heapBytes: 22_000 };
  const member = new OneMember({}, 65_536, 1, limits);
  const put = () => {
    const asked = member.ask("put", "/v2/keys/a", `value=${"x".repeat(6000)}`);
    member.until("it is answered", () => !asked.isOpen);
    return asked;
  };
  const watches = Array.from({ length: 60 }, (_, i) =>
    member.ask("get", `/v2/keys/w${i}?wait=true`),
  );
  member.until("all are open", () => watches.every(({ status }) => status === 200));
  assert.ok(member.metric("watchBytes") > 15_000);
  assertRejected(put());
  for (const { giveUp } of watches) giveUp();
  member.until("all have left", () => member.metric("storeWatchers") === 0);
  assert.equal(put().status, 201);
});
