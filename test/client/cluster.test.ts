import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import {
  ApiError,
  Client,
  KeyExistsError,
  KeyNotFoundError,
  MaybeAppliedError,
  UnavailableError,
} from "#ringd/client/index.js";
import { type ClusterMember, TestCluster } from "../support/cluster.js";
import { type MemberKind, TestMember } from "../support/member.js";
import { freePorts } from "../support/ports.js";
import { until } from "../support/until.js";

/** `KIND=etcd` runs the tests against etcd. */
const KIND: MemberKind = process.env.KIND === "etcd" ? "etcd" : "ringd";

let cluster: TestCluster;
let client: Client;

before(async () => {
  cluster = await TestCluster.create({
    kind: KIND,
    size: 3,
    flags: ["--strict-reconfig-check=false"],
  });
  client = new Client({ endpoints: cluster.members.map(({ clientUrl }) => clientUrl) });
});

after(async () => {
  await client.close();
  await cluster.destroy();
});

test("members.list and members.leader return the cluster's members", async () => {
  const members = await client.members.list();
  assert.deepEqual(members.map(({ name }) => name).sort(), ["n1", "n2", "n3"]);
  const leader = await client.members.leader();
  assert.equal(leader.name, (await cluster.leader()).name);
  assert.deepEqual(
    members.find(({ id }) => id === leader.id),
    leader,
  );
  for (const { peerURLs, clientURLs, id } of members) {
    assert.match(id, /^[0-9a-f]+$/);
    assert.equal(peerURLs.length, 1);
    assert.equal(clientURLs.length, 1);
  }
});

test("a member is added, updated and removed", async () => {
  const [port, other] = await freePorts(2);
  const [url, moved] = [`http://127.0.0.1:${port}`, `http://127.0.0.1:${other}`];
  const added = await client.members.add(url);
  assert.deepEqual([added.name, added.peerURLs, added.clientURLs], ["", [url], []]);
  assert.equal((await client.members.list()).length, 4);
  await assert.rejects(client.members.add(url), (error) => {
    return error instanceof ApiError && error.status === 409 && /exists/.test(error.message);
  });
  await client.members.update(added.id, [moved]);
  const listed = (await client.members.list()).find(({ id }) => id === added.id);
  assert.deepEqual(listed?.peerURLs, [moved]);
  await client.members.remove(added.id);
  assert.equal((await client.members.list()).length, 3);
  await client.members.remove(added.id); // Removed already: succeeds.
  for (const call of [client.members.remove("1f"), client.members.update("1f", [url])]) {
    await assert.rejects(call, (error) => error instanceof ApiError && error.status === 404);
  }
  await assert.rejects(client.members.add("not a url"), (error) => {
    return error instanceof ApiError && error.status === 400;
  });
});

test("statistics are those of the given endpoint", async () => {
  const leader = await cluster.leader();
  const id = await leader.id();
  for (const member of cluster.members) {
    const endpoint = member.clientUrl;
    const self = await client.selfStats({ endpoint });
    assert.equal(self.name, member.name);
    assert.equal(self.leaderInfo.leader, id);
    assert.equal(self.state, member === leader ? "StateLeader" : "StateFollower");
    if (member === leader) {
      const { followers } = await client.leaderStats({ endpoint });
      assert.equal(Object.keys(followers).length, 2);
    } else {
      await assert.rejects(client.leaderStats({ endpoint }), (error) => {
        return error instanceof ApiError && error.status === 403;
      });
    }
    assert.equal(typeof (await client.storeStats({ endpoint })).watchers, "number");
    assert.equal(await client.health({ endpoint }), true);
    assert.match((await client.version({ endpoint })).etcdcluster, /^\d+\.\d+\.0$/);
  }
});

test("from one endpoint it finds all members, and survives the loss of each", async () => {
  const [first, second] = cluster.members;
  assert.ok(first && second);
  const other = new Client({ endpoints: [first.clientUrl] });
  const synced = await other.syncEndpoints();
  assert.deepEqual([...synced].sort(), cluster.members.map(({ clientUrl }) => clientUrl).sort());
  await other.set("/kept", "v");
  for (const member of [first, second]) {
    await member.end("SIGKILL");
    assert.equal((await other.get("/kept", { quorum: true })).node.value, "v");
    member.start();
    await cluster.untilHealthy();
  }
  await other.close();
});

for (const [what, inject] of [
  ["hangs", async (member: ClusterMember) => member.stop()],
  ["is partitioned", isolate],
] as const) {
  test(`a watch leaves a member that ${what} and loses no event`, async () => {
    const [first, second, third] = cluster.members;
    assert.ok(first && second && third);
    const writer = new Client({ endpoints: [second.clientUrl, third.clientUrl] });
    const watcher = new Client({
      endpoints: cluster.members.map(({ clientUrl }) => clientUrl),
      order: "given",
      healthCheckMs: 200,
      timeoutMs: 2000,
    });
    await writer.delete("/w", { recursive: true }).catch((error: unknown) => {
      assert.ok(error instanceof KeyNotFoundError);
    });
    const { index } = await writer.set("/w/0", "v");
    const items = watcher.watch("/w", { recursive: true, afterIndex: index });
    const [{ value: before }] = await Promise.all([items.next(), writer.set("/w/1", "v")]);
    assert.equal(before?.endpoint, first.clientUrl);
    const next = items.next();
    await inject(first);
    // If the faulty member is the leader, this waits for the next one.
    for (const n of [2, 3]) await until("it is written", 30_000, () => wrote(writer, `/w/${n}`));
    const after = [(await next).value, (await items.next()).value];
    assert.deepEqual(
      after.map((item) => item?.node?.key),
      ["/w/2", "/w/3"],
    );
    assert.ok(after.every((item) => item?.endpoint !== first.clientUrl));
    cluster.heal();
    await cluster.untilHealthy();
    await Promise.all([items.return(), writer.close(), watcher.close()]);
  });
}

async function isolate({ name }: ClusterMember): Promise<void> {
  const others = cluster.members.filter((other) => other.name !== name);
  await Promise.all(others.map((other) => cluster.network.cut(name, other.name)));
}

/** Creates the key, so that retries cause no second event. */
async function wrote(writer: Client, key: string): Promise<boolean> {
  try {
    await writer.create(key, "v");
    return true;
  } catch (error) {
    if (error instanceof KeyExistsError) return true;
    if (error instanceof UnavailableError || error instanceof MaybeAppliedError) return false;
    throw error;
  }
}

test("without a quorum, reads work and quorum reads fail", async () => {
  const [first, second, third] = cluster.members;
  assert.ok(first && second && third);
  await client.set("/last", "v");
  await client.get("/last", { quorum: true, endpoint: third.clientUrl });
  await Promise.all([first.end("SIGKILL"), second.end("SIGKILL")]);
  assert.equal((await client.get("/last")).node.value, "v");
  const call = client.get("/last", { quorum: true, timeoutMs: 300 });
  await assert.rejects(call, (error) => {
    return error instanceof UnavailableError && error.errors.length === 3;
  });
  assert.equal(await client.health({ endpoint: third.clientUrl, timeoutMs: 10_000 }), false);
});

test("requests after a restart of the member succeed", async () => {
  const member = await TestMember.create(KIND);
  const single = new Client({ endpoints: [member.clientUrl] });
  await single.set("/a", "v");
  await member.restart();
  await single.delete("/a");
  await single.close();
  await member.destroy();
});
