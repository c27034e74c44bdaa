import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { FORMAT_LEVEL } from "#ringd/cluster/format.js";
import { Client, NoAnswerError } from "../support/client.js";
import { type ClusterMember, RINGD, TestCluster } from "../support/cluster.js";
import { until } from "../support/until.js";

/**
 * A cluster is upgraded from an older build to this one, member by member, and back while one older
 * member remains. The older build is this one limited to format 1; RINGD_OLD=/path/to/ringd.js uses
 * a real one.
 */
const OLD_PROGRAM = process.env.RINGD_OLD;
const OLD = { RINGD_TEST_FORMAT_LEVEL: "1" };
const TIMEOUT_MS = 10_000;
const LONG_TTL = 600;

function makeOld(member: ClusterMember): void {
  if (OLD_PROGRAM !== undefined) member.program = OLD_PROGRAM;
  member.environment = OLD;
}

/**
 * Writes through all members in turn until it is stopped; every third key has a TTL of two seconds.
 */
class Writer {
  readonly #cluster: TestCluster;
  readonly acknowledged: number[] = [];
  #isStopped = false;
  readonly #done: Promise<void>;

  constructor(cluster: TestCluster) {
    this.#cluster = cluster;
    this.#done = this.#run();
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#done;
  }

  async #run(): Promise<void> {
    for (let n = 0; !this.#isStopped; n++) {
      const member = this.#cluster.members[n % 3] as ClusterMember;
      const client = new Client(member.clientUrl);
      const form = `value=${n}&ttl=${n % 3 === 0 ? 2 : LONG_TTL}`;
      try {
        const options = { form, timeoutMs: TIMEOUT_MS };
        const { status } = await client.call("PUT", `/v2/keys/k/${n}`, options);
        if (status < 300) this.acknowledged.push(n);
      } catch (error) {
        if (!(error instanceof NoAnswerError)) throw error;
      }
      client.close();
    }
  }
}

async function levelOf(member: ClusterMember): Promise<number> {
  const text = (await member.ask("GET", "/metrics"))?.body ?? "";
  return Number(/^ringd_format_level (\d+)$/m.exec(text)?.[1] ?? 1);
}

async function roll(cluster: TestCluster, member: ClusterMember, isNew: boolean): Promise<void> {
  await member.end("SIGTERM");
  if (isNew) {
    member.environment = {};
    member.program = RINGD;
  } else makeOld(member);
  member.start();
  await cluster.untilHealthy();
}

async function checkKeys(cluster: TestCluster, acknowledged: readonly number[]): Promise<void> {
  for (const member of cluster.members) {
    const listing = async () => {
      const answer = await member.ask("GET", "/v2/keys/k?quorum=true", { timeoutMs: TIMEOUT_MS });
      const { node } = JSON.parse(answer?.body ?? "{}") as {
        node?: { nodes?: { key: string; value: string; ttl: number }[] };
      };
      return new Map((node?.nodes ?? []).map(({ key, value, ttl }) => [key, { value, ttl }]));
    };
    await until(`short keys are gone at ${member.name}`, 15_000, async () =>
      [...(await listing()).keys()].every((key) => Number(key.slice(3)) % 3 !== 0),
    );
    const found = await listing();
    for (const n of acknowledged) {
      if (n % 3 === 0) continue;
      const node = found.get(`/k/${n}`);
      assert.equal(node?.value, String(n), `${member.name} has lost write ${n}`);
      assert.ok(node.ttl <= LONG_TTL && node.ttl > LONG_TTL - 180, `${node.ttl} s left of ${n}`);
    }
  }
}

function logHas(member: ClusterMember, pattern: RegExp): boolean {
  return pattern.test(readFileSync(member.logFile, "utf8"));
}

test("a cluster is upgraded to this build and back under writes; its level rises once all are new", {
  timeout: 240_000,
}, async () => {
  const cluster = await TestCluster.create({
    ...{ kind: "ringd", size: 3, flags: ["--snapshot-count", "200"], environment: OLD },
    ...(OLD_PROGRAM === undefined ? {} : { program: OLD_PROGRAM }),
  });
  let isFine = false;
  const writer = new Writer(cluster);
  try {
    const [one, two, three] = cluster.members as [ClusterMember, ClusterMember, ClusterMember];
    await roll(cluster, one, true);
    await roll(cluster, two, true);
    assert.equal(await levelOf(one), 1, "one member is old");
    await roll(cluster, one, false);
    await roll(cluster, one, true);
    assert.equal(await levelOf(one), 1);
    await roll(cluster, three, true);
    for (const member of cluster.members) {
      await until("the level rises", 20_000, async () => (await levelOf(member)) === FORMAT_LEVEL);
    }
    await writer.stop();
    assert.ok(writer.acknowledged.length > 50, `${writer.acknowledged.length} writes`);
    await checkKeys(cluster, writer.acknowledged);
    await checkOldJoining(cluster);
    isFine = true;
  } finally {
    await writer.stop();
    await cluster.destroy(!isFine);
  }
});

/** Rejected by all, with the reason on both sides. */
async function checkOldJoining(cluster: TestCluster): Promise<void> {
  const old = await cluster.grow((member) => makeOld(member));
  const why = /reads formats up to 1: it needs ringd 0\.4\.0 or later/;
  const others = cluster.members.filter((member) => member !== old);
  await until("both sides say it", 30_000, () =>
    [old, ...others].every((member) => logHas(member, why)),
  );
  assert.deepEqual(cluster.crashes, []);
}

test("a learner waits until the last member of an older build is gone", {
  timeout: 120_000,
}, async () => {
  const before = { RINGD_TEST_FORMAT_LEVEL: "3" };
  const cluster = await TestCluster.create({ kind: "ringd", size: 2, environment: before });
  try {
    const [one, two] = cluster.members as [ClusterMember, ClusterMember];
    const json = { peerURLs: ["http://127.0.0.1:1"], isLearner: true };
    const add = async (member: ClusterMember) => {
      const answer = await member.ask("POST", "/v2/members", { json, timeoutMs: TIMEOUT_MS });
      return `${answer?.status} ${answer?.body}`;
    };
    await until("it is refused, once members are connected long enough", 30_000, async () => {
      const answer = await add(one);
      assert.match(answer, /^(412 .*ringd 0\.4\.0 or later on all members|500 )/);
      return answer.startsWith("412 ");
    });
    await roll(cluster, one, true);
    await until("it is refused by the new one, too", 30_000, async () => {
      const answer = await add(one);
      assert.match(answer, /^(412|500) /);
      return answer.startsWith("412 ");
    });
    await roll(cluster, two, true);
    for (const member of cluster.members) {
      await until("the level rises", 20_000, async () => (await levelOf(member)) === FORMAT_LEVEL);
    }
    await until("it is taken", 30_000, async () => (await add(two)).startsWith("201 "));
    await until("the other has applied it", 20_000, async () => {
      const list = await one.ask("GET", "/v2/members");
      return /"isLearner":true/.test(list?.body ?? "");
    });
    assert.deepEqual(cluster.crashes, []);
  } finally {
    await cluster.destroy();
  }
});
