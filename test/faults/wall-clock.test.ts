import assert from "node:assert/strict";
import { test } from "node:test";
import { Client } from "../support/client.js";
import { type ClusterMember, TestCluster } from "../support/cluster.js";
import { until } from "../support/until.js";

/** Three real members whose wall clocks jump by an hour, either way, while keys have TTLs. */

const HOUR_MS = 3_600_000;
const TIMEOUT_MS = 10_000;

interface NodeBody {
  readonly node?: { readonly ttl?: number; readonly expiration?: string };
}

async function put(member: ClusterMember, key: string, ttl: number): Promise<NodeBody> {
  const client = new Client(member.clientUrl);
  const form = `value=x&ttl=${ttl}`;
  const answer = await client.call("PUT", `/v2/keys/${key}`, { form, timeoutMs: TIMEOUT_MS });
  client.close();
  assert.ok(answer.status < 300, `${answer.status} ${answer.body}`);
  return JSON.parse(answer.body) as NodeBody;
}

async function ttlOf(member: ClusterMember, key: string): Promise<number | undefined> {
  const client = new Client(member.clientUrl);
  const path = `/v2/keys/${key}?quorum=true`;
  const answer = await client.call("GET", path, { timeoutMs: TIMEOUT_MS });
  client.close();
  return (JSON.parse(answer.body) as NodeBody).node?.ttl;
}

/** Expires within seconds, by a clock that is not shifted. */
async function checkExpires(member: ClusterMember, key: string): Promise<void> {
  await until(`${key} expires`, 15_000, async () => (await ttlOf(member, key)) === undefined);
}

async function checkKept(cluster: TestCluster, key: string, ttl: number): Promise<void> {
  for (const member of cluster.running) {
    const left = await ttlOf(member, key);
    assert.ok(left !== undefined, `${member.name} has lost ${key}`);
    assert.ok(left <= ttl + 1 && left > ttl - 120, `${left} s left of ${ttl} at ${member.name}`);
  }
}

async function offsetOf(member: ClusterMember): Promise<number> {
  const text = (await member.ask("GET", "/metrics"))?.body ?? "";
  return Number(/^ringd_clock_offset_seconds (\S+)$/m.exec(text)?.[1] ?? Number.NaN);
}

test("no member's wall clock expires a key early or late", { timeout: 180_000 }, async () => {
  const cluster = await TestCluster.create({ kind: "ringd", size: 3 });
  let isFine = false;
  try {
    const leader = await cluster.leader();
    const [one, two] = cluster.members.filter((member) => member !== leader) as [
      ClusterMember,
      ClusterMember,
    ];
    await put(leader, "long", 300);
    await put(one, "short", 3);
    leader.shiftWallClock(HOUR_MS);
    one.shiftWallClock(-HOUR_MS);
    two.shiftWallClock(HOUR_MS / 2);
    await until("the metric shows it", 10_000, async () => (await offsetOf(leader)) > 3000);
    await until("it is negative", 10_000, async () => (await offsetOf(one)) < -3000);
    await checkExpires(two, "short");
    await checkKept(cluster, "long", 300);
    // Requests to members with wrong clocks.
    for (const member of cluster.members) {
      const { node } = await put(member, `by-${member.name}`, 300);
      assert.equal(node?.ttl, 300);
      await put(member, `short-${member.name}`, 2);
    }
    for (const { name } of cluster.members) {
      await checkExpires(two, `short-${name}`);
      await checkKept(cluster, `by-${name}`, 300);
    }
    // Another leader, and a member that starts with a wrong clock.
    await leader.end("SIGKILL");
    await cluster.leader();
    leader.start();
    await cluster.untilHealthy();
    await checkKept(cluster, "long", 300);
    await put(leader, "after", 2);
    await checkExpires(one, "after");
    // Whichever member is elected, no wall clock is used as the time.
    for (const member of [one, two]) {
      await member.end("SIGKILL");
      member.start();
      await cluster.untilHealthy();
      await checkKept(cluster, "long", 300);
    }
    isFine = true;
  } finally {
    await cluster.destroy(!isFine);
  }
});

test("after a stop of all members the wall clock is used, but never backwards", {
  timeout: 120_000,
}, async () => {
  const cluster = await TestCluster.create({ kind: "ringd", size: 3 });
  let isFine = false;
  try {
    const [one] = cluster.members as [ClusterMember];
    await put(one, "hour", 2 * 3600);
    await put(one, "minute", 60);
    const restartAll = async (offsetMs: number) => {
      await Promise.all(cluster.members.map((member) => member.end("SIGKILL")));
      for (const member of cluster.members) {
        member.shiftWallClock(offsetMs);
        member.start();
      }
      await cluster.untilHealthy();
    };
    await restartAll(-HOUR_MS);
    await checkKept(cluster, "hour", 2 * 3600);
    await checkKept(cluster, "minute", 60);
    await restartAll(HOUR_MS);
    await until(
      "the minute is over",
      10_000,
      async () => (await ttlOf(one, "minute")) === undefined,
    );
    const left = (await ttlOf(one, "hour")) ?? 0;
    assert.ok(left > 3400 && left < 3700, `${left} s left`);
    isFine = true;
  } finally {
    await cluster.destroy(!isFine);
  }
});
