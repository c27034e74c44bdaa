import assert from "node:assert/strict";
import { test } from "node:test";
import { FollowerMetrics, RaftStats } from "#ringd/v2/raft-stats.js";
import { handleLeaderStats, handleSelfStats } from "#ringd/v2/stats.js";
import { Prng } from "../support/prng.js";
import { requestOf } from "./request-of.js";

const ID = 0xcfc5c92b5824e19bn;
const PEER = 0x3027c98b2708b7e2n;
const DOWN = 0x808d93e6c5b5a213n;
/** 2026-11-21T07:49:24.608Z */
const START_MS = 1_795_247_364_608;

function selfOf(stats: RaftStats, nowMs: number): string {
  const request = requestOf("GET", "/v2/stats/self");
  return handleSelfStats(request, stats.self(nowMs, START_MS + nowMs)).body.toString();
}

test("leader: bytes as etcd 3.4.23 writes them, also for a follower that never responded", () => {
  const stats = new RaftStats(ID, "a", START_MS);
  stats.setPeers([PEER, DOWN]);
  stats.onAppendSent(PEER, 4, 100, 1000);
  stats.onAppendSent(DOWN, 4, 100, 1000);
  stats.onAppendReply(PEER, 4, 1002);
  stats.onAppendFailed(DOWN);
  const answer = handleLeaderStats(requestOf("GET", "/v2/stats/leader"), ID, stats.followers);
  assert.equal(
    answer.body.toString(),
    '{"leader":"cfc5c92b5824e19b","followers":{' +
      '"3027c98b2708b7e2":{"latency":{"current":2,"average":2,"standardDeviation":0,"minimum":2,"maximum":2},"counts":{"fail":0,"success":1}},' +
      '"808d93e6c5b5a213":{"latency":{"current":0,"average":0,"standardDeviation":0,"minimum":9223372036854776000,"maximum":0},"counts":{"fail":1,"success":0}}}}',
  );
});

test("one response covers all appends up to its index; a broken stream covers none", () => {
  const stats = new RaftStats(ID, "a", START_MS);
  stats.setPeers([PEER]);
  for (const index of [4, 5, 6, 7]) stats.onAppendSent(PEER, index, 10, index);
  stats.onAppendReply(PEER, 6, 10);
  const figures = () => stats.followers.get(PEER);
  assert.deepEqual([figures()?.success, figures()?.current, figures()?.maximum], [3, 4, 6]);
  assert.equal(figures()?.average, 5);
  stats.onAppendFailed(PEER);
  stats.onAppendReply(PEER, 7, 20);
  assert.deepEqual([figures()?.success, figures()?.fail], [3, 1]);
  for (let index = 1; index <= 2000; index++) stats.onAppendSent(PEER, index, 10, 30);
  stats.onAppendReply(PEER, 2000, 31);
  assert.equal(figures()?.success, 3 + 1024, "what may wait for an answer has a bound");
});

test("latencies agree with the textbook formulas", () => {
  const seed = Number(process.env.SEED ?? 5);
  const prng = new Prng(seed);
  const figures = new FollowerMetrics();
  const latencies: number[] = [];
  for (let i = 1; i <= 500; i++) {
    const latencyMs = prng.below(10_000) / 64;
    latencies.push(latencyMs);
    figures.sent(i, 1000);
    figures.answered(i, 1000 + latencyMs);
  }
  const mean = latencies.reduce((sum, x) => sum + x, 0) / latencies.length;
  const variance = latencies.reduce((sum, x) => sum + (x - mean) ** 2, 0) / latencies.length;
  const near = (a: number, b: number) =>
    assert.ok(Math.abs(a - b) < 1e-6, `SEED=${seed} ${a} ${b}`);
  near(figures.average, mean);
  near(figures.standardDeviation, Math.sqrt(variance));
  near(figures.minimum, Math.min(...latencies));
  near(figures.maximum, Math.max(...latencies));
  assert.equal(figures.current, latencies.at(-1));
  const constant = new FollowerMetrics();
  for (let i = 1; i <= 1000; i++) {
    constant.sent(i, 0);
    constant.answered(i, 0.1);
  }
  assert.ok(constant.standardDeviation < 1e-6, "rounding does not make it NaN");
});

test("self: a member leads from its election to the first append of another", () => {
  const stats = new RaftStats(ID, "a", START_MS);
  assert.equal(
    selfOf(stats, 250),
    '{"name":"a","id":"cfc5c92b5824e19b","state":"StateFollower","startTime":"2026-11-21T07:49:24.608Z","leaderInfo":{"leader":"","uptime":"250ms","startTime":"2026-11-21T07:49:24.608Z"},"recvAppendRequestCnt":0,"sendAppendRequestCnt":0}',
  );
  stats.setPeers([PEER]);
  stats.onBecomeLeader(START_MS + 1000);
  stats.onBecomeLeader(START_MS + 1500);
  stats.onAppendSent(PEER, 4, 100, 1500);
  stats.onAppendSent(PEER, 5, 300, 2000);
  assert.equal(
    selfOf(stats, 3000),
    '{"name":"a","id":"cfc5c92b5824e19b","state":"StateLeader","startTime":"2026-11-21T07:49:24.608Z","leaderInfo":{"leader":"cfc5c92b5824e19b","uptime":"2s","startTime":"2026-11-21T07:49:25.608Z"},"recvAppendRequestCnt":0,"sendAppendRequestCnt":2,"sendPkgRate":4,"sendBandwidthRate":800}',
  );
  stats.onAppendReceived(PEER, 64, 4000, START_MS + 4000);
  stats.onAppendReceived(PEER, 64, 4500, START_MS + 4500);
  assert.equal(
    selfOf(stats, 5000),
    '{"name":"a","id":"cfc5c92b5824e19b","state":"StateFollower","startTime":"2026-11-21T07:49:24.608Z","leaderInfo":{"leader":"3027c98b2708b7e2","uptime":"1s","startTime":"2026-11-21T07:49:28.608Z"},"recvAppendRequestCnt":2,"recvPkgRate":4,"recvBandwidthRate":256,"sendAppendRequestCnt":2}',
  );
});

test("followers come and go with the membership", () => {
  const stats = new RaftStats(ID, "a", START_MS);
  stats.setPeers([PEER, DOWN]);
  stats.onAppendFailed(PEER);
  stats.setPeers([PEER]);
  assert.deepEqual([...stats.followers.keys()], [PEER]);
  assert.equal(stats.followers.get(PEER)?.fail, 1);
  stats.onAppendSent(DOWN, 4, 10, 1);
  stats.onAppendReply(DOWN, 4, 2);
  assert.equal(stats.followers.size, 1);
});
