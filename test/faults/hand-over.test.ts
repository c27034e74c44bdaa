import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Client } from "#ringd/client/index.js";
import { type ClusterMember, TestCluster } from "../support/cluster.js";
import { until } from "../support/until.js";

/**
 * Three members are restarted one by one while clients write through all of them. Leadership is
 * handed over first, so no member is stopped that leads.
 */
const ROLLS = Number(process.env.ROLLS ?? 1);
const WRITERS = 6;
const TIMEOUT_MS = 10_000;
const END_MS = 30_000;
/** Time without a restart, to compare with. */
const QUIET_MS = 2000;

/** Clients that write one key after the other, each at another member until that one fails. */
class Load {
  readonly acknowledged: string[] = [];
  /** Times of acknowledgements, monotonic. */
  readonly #times: number[] = [];
  readonly #clients: Client[];
  readonly #done: Promise<unknown>;
  slowestMs = 0;
  #isStopped = false;

  constructor(urls: readonly string[]) {
    this.#clients = Array.from({ length: WRITERS }, (_, n) => {
      const at = n % urls.length;
      return new Client({ endpoints: [...urls.slice(at), ...urls.slice(0, at)], order: "given" });
    });
    this.#done = Promise.all(this.#clients.map((client, n) => this.#run(client, n)));
  }

  async #run(client: Client, writer: number): Promise<void> {
    for (let n = 0; !this.#isStopped; n++) {
      const key = `/load/${writer}/${n}`;
      const startMs = performance.now();
      await client.set(key, `${n}`);
      const nowMs = performance.now();
      this.slowestMs = Math.max(this.slowestMs, nowMs - startMs);
      this.acknowledged.push(key);
      this.#times.push(nowMs);
    }
  }

  /** The longest time without an acknowledged write since a moment. */
  gapSince(startMs: number): number {
    const times = [startMs, ...this.#times.filter((time) => time > startMs), performance.now()];
    return Math.max(...times.map((time, n) => time - (times[n - 1] ?? time)));
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#done;
    await Promise.all(this.#clients.map((client) => client.close()));
  }
}

async function handOver(cluster: TestCluster, from: ClusterMember): Promise<void> {
  if ((await cluster.leader()) !== from) return;
  const to = cluster.members.find((member) => member !== from) as ClusterMember;
  const json = { id: await to.id() };
  await until("leadership is handed over", END_MS, async () => {
    const answer = await from.ask("POST", "/v2/admin/leader", { json, timeoutMs: TIMEOUT_MS });
    // 503 on a machine so busy that a second is too short.
    assert.ok(answer?.status === 204 || answer?.status === 503, answer?.body);
    return answer.status === 204;
  });
}

async function checkKeys(member: ClusterMember, acknowledged: readonly string[]): Promise<void> {
  const path = "/v2/keys/load?recursive=true&quorum=true";
  const answer = await member.ask("GET", path, { timeoutMs: TIMEOUT_MS });
  interface Dir {
    nodes?: ({ key: string } & Dir)[];
  }
  const { node } = JSON.parse(answer?.body ?? "{}") as { node: Dir };
  const found = new Set(node.nodes?.flatMap(({ nodes = [] }) => nodes.map(({ key }) => key)));
  const lost = acknowledged.filter((key) => !found.has(key));
  assert.deepEqual(lost, [], `${member.name} has lost acknowledged writes`);
}

test("a cluster rolled member by member loses no write, and hardly waits", {
  timeout: 600_000,
}, async (t) => {
  const cluster = await TestCluster.create({ kind: "ringd", size: 3 });
  const load = new Load(cluster.members.map(({ clientUrl }) => clientUrl));
  try {
    const quietMs = performance.now();
    await sleep(QUIET_MS);
    t.diagnostic(`longest gap before: ${load.gapSince(quietMs).toFixed(0)} ms`);
    const gaps: number[] = [];
    for (let roll = 1; roll <= ROLLS; roll++) {
      for (const member of cluster.members) {
        const startMs = performance.now();
        await handOver(cluster, member);
        const moved = load.gapSince(startMs);
        const stopMs = performance.now();
        await member.end("SIGTERM");
        const stopped = load.gapSince(stopMs);
        const againMs = performance.now();
        member.start();
        await cluster.untilHealthy();
        const started = load.gapSince(againMs);
        gaps.push(Math.max(moved, stopped, started));
        const shown = [moved, stopped, started].map((ms) => `${ms.toFixed(0)} ms`);
        t.diagnostic(
          `${member.name}: longest gap at hand-over ${shown[0]}, stop ${shown[1]}, start ${shown[2]}`,
        );
      }
    }
    await load.stop();
    t.diagnostic(
      `${load.acknowledged.length} writes, slowest ${load.slowestMs.toFixed(0)} ms, longest gap ${Math.max(...gaps).toFixed(0)} ms`,
    );
    assert.ok(load.acknowledged.length > 100, `${load.acknowledged.length} writes`);
    for (const member of cluster.members) await checkKeys(member, load.acknowledged);
    assert.deepEqual(cluster.crashes, []);
  } finally {
    await load.stop().catch(() => undefined);
    await cluster.destroy();
  }
});
