import assert from "node:assert/strict";
import { test } from "node:test";
import { type Answer, Client } from "../support/client.js";
import { TestCluster } from "../support/cluster.js";
import { TestMember } from "../support/member.js";

const CALL = { timeoutMs: 30_000 };
const NO_SPACE =
  /^\{"errorCode":302,"message":"Insufficient Storage","cause":"etcdserver: database space exceeded","index":\d+\}\n$/;

interface Filled {
  readonly keys: string[];
  readonly refusal: Answer;
}

/** Writes in parallel until the store is full, or the server has ended. */
async function fill(
  clients: readonly Client[],
  pathOf: (n: number) => string,
  bytes: number,
): Promise<Filled> {
  const keys: string[] = [];
  let refusal: Answer | undefined;
  let next = 0;
  const form = `value=${"x".repeat(bytes)}`;
  const write = async (client: Client) => {
    while (refusal === undefined) {
      const path = `/v2/keys${pathOf(next++)}`;
      const answer = await client.call("PUT", path, { ...CALL, form });
      if (answer.status === 201 || answer.status === 200) keys.push(path);
      else if (answer.status === 507) refusal = answer;
      else assert.match(answer.body, /too many requests/); // Too much in flight at that moment.
    }
  };
  await Promise.all([...clients, ...clients, ...clients].map(write));
  assert(refusal !== undefined);
  return { keys, refusal };
}

async function metric(client: Client, name: string): Promise<number> {
  const { body } = await client.call("GET", "/metrics", CALL);
  return Number(new RegExp(`^${name} (.*)$`, "m").exec(body)?.[1]);
}

async function checkFull(client: Client, { keys, refusal }: Filled, bytes: number): Promise<void> {
  assert.match(refusal.body, NO_SPACE);
  const [first, second] = keys as [string, string];
  assert.equal((await client.call("GET", first, CALL)).status, 200);
  const form = `value=${"y".repeat(bytes)}`;
  assert.equal((await client.call("PUT", first, { ...CALL, form })).status, 200);
  const refresh = "refresh=true&prevExist=true&ttl=500";
  assert.equal((await client.call("PUT", second, { ...CALL, form: refresh })).status, 200);
  // Replaced values stay in the history, which may take an eighth.
  const quota = await metric(client, "ringd_store_quota_bytes");
  assert.ok((await metric(client, "ringd_store_bytes")) <= quota * (1 + 1 / 8));
}

/** Deletes until there is room again. */
async function makeRoom(client: Client, keys: readonly string[]): Promise<void> {
  for (const key of keys) {
    const answer = await client.call("PUT", "/v2/keys/again", { ...CALL, form: "value=1" });
    if (answer.status === 201) return;
    assert.match(answer.body, NO_SPACE);
    assert.equal((await client.call("DELETE", key, CALL)).status, 200);
  }
  assert.fail("all keys are deleted, and there is no room");
}

for (const frontend of ["uws", "node"]) {
  test(`--frontend ${frontend}: a full store rejects writes that add, reports it, and accepts writes again`, async () => {
    const flags = ["--quota-backend-bytes", "2000000", "--frontend", frontend];
    const member = await TestMember.create("ringd", flags);
    const client = new Client(member.clientUrl, 8);
    try {
      const bytes = 1000;
      const filled = await fill([client], (n) => `/d${n % 7}/_h${n % 3}/k${n}`, bytes);
      await checkFull(client, filled, bytes);
      const health = async () => (await client.call("GET", "/health", CALL)).body.trim();
      assert.equal(await health(), '{"health":"false"}');
      assert.equal(await metric(client, "ringd_store_full"), 1);
      assert.equal(await metric(client, "etcd_server_quota_backend_bytes"), 2_000_000);
      assert.match(member.log, /database space exceeded; rejecting writes that add data/);
      await member.restart();
      assert.equal(await health(), '{"health":"false"}');
      await makeRoom(client, filled.keys);
      assert.equal(await health(), '{"health":"true"}');
    } finally {
      client.close();
      await member.destroy();
    }
  });
}

test("a small heap is filled with keys of three shapes, and never overrun", async () => {
  const before = process.env.NODE_OPTIONS;
  process.env.NODE_OPTIONS = "--max-old-space-size=80";
  const member = await TestMember.create("ringd", ["--unsafe-no-fsync"]);
  const client = new Client(member.clientUrl, 16);
  try {
    for (const bytes of [20_000, 120_000, 2_000_000]) {
      const filled = await fill([client, client], (n) => `/${bytes}/k${n}`, bytes);
      await checkFull(client, filled, bytes);
      await member.end("SIGKILL");
      await member.start();
      assert.equal((await client.call("GET", filled.keys[0] as string, CALL)).status, 200);
      const all = await client.call("DELETE", `/v2/keys/${bytes}?recursive=true`, CALL);
      assert.equal(all.status, 200);
    }
  } finally {
    if (before === undefined) delete process.env.NODE_OPTIONS;
    else process.env.NODE_OPTIONS = before;
    client.close();
    await member.destroy();
  }
});

test("three members reject at the same size, on whichever member", async () => {
  const flags = ["--quota-backend-bytes", "3000000"];
  const cluster = await TestCluster.create({ kind: "ringd", size: 3, flags });
  const clients = cluster.members.map(({ clientUrl }) => new Client(clientUrl, 8));
  try {
    await cluster.untilHealthy();
    const filled = await fill(clients, (n) => `/k${n}`, 5000);
    for (const client of clients) {
      await checkFull(client, filled, 5000);
      assert.ok((await metric(client, "ringd_store_bytes")) > 2_500_000);
    }
    await makeRoom(clients[1] as Client, filled.keys);
    assert.deepEqual(cluster.crashes, []);
  } finally {
    for (const client of clients) client.close();
    await cluster.destroy();
  }
});
