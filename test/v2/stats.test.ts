import assert from "node:assert/strict";
import { test } from "node:test";
import { NO_RATE, RateWindow } from "#ringd/v2/rate-window.js";
import { ContentKind } from "#ringd/v2/response.js";
import {
  handleLeaderStats,
  handleSelfStats,
  handleStoreStats,
  type SelfStats,
  STORE_STATS,
  type StoreCounts,
} from "#ringd/v2/stats.js";
import { MEMBER_ID } from "../cluster/one-member.js";
import { requestOf } from "./request-of.js";

const SELF: SelfStats = {
  name: "default",
  id: MEMBER_ID,
  state: "StateLeader",
  startTimeNs: 1_795_237_679_847_612_097n,
  leaderId: MEMBER_ID,
  leaderStartTimeNs: 1_795_237_680_349_014_164n,
  nowNs: 1_795_237_680_349_014_164n + 2_689_836_091n,
  recvAppendRequests: 0,
  recvRate: NO_RATE,
  sendAppendRequests: 0,
  sendRate: NO_RATE,
};

test("self: the bytes of etcd 3.4.23's response for these inputs", () => {
  const answer = handleSelfStats(requestOf("GET", "/v2/stats/self"), SELF);
  assert.equal(
    answer.body.toString(),
    '{"name":"default","id":"8ddab73534be950c","state":"StateLeader","startTime":"2026-11-21T05:07:59.847612097Z","leaderInfo":{"leader":"8ddab73534be950c","uptime":"2.689836091s","startTime":"2026-11-21T05:08:00.349014164Z"},"recvAppendRequestCnt":0,"sendAppendRequestCnt":0}',
  );
  assert.equal(answer.head.contentKind, ContentKind.json);
  assert.equal(answer.head.hasClusterId, false);
});

test("self: rates follow their counters, and show only when there are any", () => {
  const rate = { perSecond: 1.5, bytesPerSecond: 1e21 };
  const stats = { ...SELF, leaderId: 0n, recvAppendRequests: 3, recvRate: rate };
  const body = handleSelfStats(requestOf("GET", "/v2/stats/self"), stats).body.toString();
  assert.match(body, /"leader":"",/);
  assert.ok(
    body.endsWith(
      '"recvAppendRequestCnt":3,"recvPkgRate":1.5,"recvBandwidthRate":1e+21,"sendAppendRequestCnt":0}',
    ),
  );
});

test("leader: followers in the order of their ids as text; 403 elsewhere", () => {
  const get = requestOf("GET", "/v2/stats/leader");
  const alone = handleLeaderStats(get, MEMBER_ID, new Map());
  assert.equal(alone.body.toString(), '{"leader":"8ddab73534be950c","followers":{}}');
  const one = {
    current: 1,
    average: 2.5,
    standardDeviation: 0,
    minimum: 0.25,
    maximum: 4,
    fail: 1,
    success: 2,
  };
  const two = handleLeaderStats(
    get,
    MEMBER_ID,
    new Map([
      [0x9n, one],
      [0x10n, one],
    ]),
  );
  const shown =
    '{"latency":{"current":1,"average":2.5,"standardDeviation":0,"minimum":0.25,"maximum":4},"counts":{"fail":1,"success":2}}';
  assert.equal(
    two.body.toString(),
    `{"leader":"8ddab73534be950c","followers":{"10":${shown},"9":${shown}}}`,
  );
  const follower = handleLeaderStats(get, 1n, undefined);
  assert.equal(follower.head.status, 403);
  assert.equal(follower.body.toString(), '{"message":"not current leader"}');
});

test("store: all counters in etcd's order", () => {
  const counts = Object.fromEntries(STORE_STATS.map((name, i) => [name, i])) as StoreCounts;
  const answer = handleStoreStats(requestOf("GET", "/v2/stats/store"), counts);
  assert.equal(
    answer.body.toString(),
    '{"getsSuccess":0,"getsFail":1,"setsSuccess":2,"setsFail":3,"deleteSuccess":4,"deleteFail":5,"updateSuccess":6,"updateFail":7,"createSuccess":8,"createFail":9,"compareAndSwapSuccess":10,"compareAndSwapFail":11,"compareAndDeleteSuccess":12,"compareAndDeleteFail":13,"expireCount":14,"watchers":15}',
  );
  for (const method of ["PUT", "HEAD", "DELETE", "OTHER"] as const) {
    const refused = handleStoreStats(requestOf(method, "/v2/stats/store"), counts);
    assert.equal(refused.head.status, 405);
    assert.equal(refused.head.allow, "GET");
    assert.equal(refused.body.toString(), "Method Not Allowed\n");
  }
});

test("a rate window holds the last 200 messages and empties after a second of silence", () => {
  const window = new RateWindow();
  assert.deepEqual(window.rate(0), NO_RATE);
  window.add(0, 1000);
  assert.deepEqual(window.rate(0), NO_RATE, "one message has no rate");
  for (let i = 1; i <= 400; i++) window.add(i * 10, 50);
  const rate = window.rate(4000);
  // 200 messages of 50 bytes span 199 intervals of 10 ms.
  assert.ok(Math.abs(rate.perSecond - 200 / 1.99) < 1e-9);
  assert.ok(Math.abs(rate.bytesPerSecond - 10_000 / 1.99) < 1e-9);
  assert.deepEqual(window.rate(5000), rate, "a second is not more than a second");
  assert.deepEqual(window.rate(5000.001), NO_RATE);
  window.add(6000, 1);
  window.add(6500, 1);
  assert.deepEqual(window.rate(6500), { perSecond: 4, bytesPerSecond: 4 });
});
