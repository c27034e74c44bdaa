import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import {
  Client,
  KeyExistsError,
  MaybeAppliedError,
  UnavailableError,
} from "#ringd/client/index.js";
import { type ClusterMember, TestCluster } from "../support/cluster.js";
import type { MemberKind } from "../support/member.js";
import { until } from "../support/until.js";

/** `KIND=etcd` runs the tests against etcd. */
const KIND: MemberKind = process.env.KIND === "etcd" ? "etcd" : "ringd";

/** `EVENTS=10000` is the long run. */
const EVENTS = Number(process.env.EVENTS ?? 400);
const KILLS = 3;
/**
 * Writes ahead of the watch: well below the length of the history, so that no event is lost.
 */
const AHEAD_MAX = 200;
/** Requests that a killed leader forwards never get a response, so waiting longer is useless. */
const TIMEOUT_MS = 1000;
/** Limit for an election or a start on a machine that is busy with other tests. */
const PATIENCE_MS = 60_000;

let cluster: TestCluster;

before(async () => {
  cluster = await TestCluster.create({
    kind: KIND,
    size: 3,
    flags: ["--heartbeat-interval", "50", "--election-timeout", "500"],
  });
});

after(async () => {
  await cluster.destroy();
});

function urls(first?: ClusterMember): string[] {
  const others = cluster.members.filter((member) => member !== first);
  return [...(first === undefined ? [] : [first]), ...others].map(({ clientUrl }) => clientUrl);
}

/** Creates keys one after the other: each event has its own key. */
class Writer {
  written = 0;
  seen = 0;
  unsure = 0;
  readonly #client = new Client({ endpoints: urls(), timeoutMs: TIMEOUT_MS });
  #onSeen: () => void = () => undefined;

  async run(): Promise<void> {
    while (this.written < EVENTS) {
      while (this.written - this.seen >= AHEAD_MAX) {
        await new Promise<void>((resolve) => {
          this.#onSeen = resolve;
        });
      }
      await this.#create(`/watched/${this.written + 1}`);
      this.written++;
    }
  }

  /** Ends the loop in any state. */
  close(): Promise<void> {
    return this.#client.close();
  }

  noteSeen(): void {
    this.seen++;
    this.#onSeen();
  }

  async #create(key: string): Promise<void> {
    for (let isUnsure = false; ; ) {
      try {
        await this.#client.create(key, "v");
        return;
      } catch (error) {
        if (error instanceof KeyExistsError && isUnsure) return;
        if (error instanceof MaybeAppliedError) {
          isUnsure = true;
          this.unsure++;
        } else if (!(error instanceof UnavailableError)) throw error;
      }
    }
  }
}

test(`${EVENTS} events across ${KILLS} killed leaders, each once and in order`, async (t) => {
  const client = new Client({ endpoints: urls(), order: "given" });
  const { index } = await client.set("/start", "v");
  const writer = new Writer();
  const writing = writer.run();
  // Without a writer no event comes.
  writing.catch(() => client.close());
  const killer = new Killer();
  const servedBy: string[] = [];
  const seen: string[] = [];
  const watch = async () => {
    let last = index;
    const options = { recursive: true, afterIndex: index };
    for await (const item of client.watch("/watched", options)) {
      assert.equal(item.kind, "event", `${item.kind === "reset" && item.reason}`);
      assert.ok(item.index > last, "events are in order");
      last = item.index;
      seen.push(item.node?.key ?? "");
      if (servedBy.at(-1) !== item.endpoint) servedBy.push(item.endpoint);
      writer.noteSeen();
      if (seen.length === EVENTS) break;
      await killer.see(client, seen.length, item.endpoint);
    }
    await killer.killing;
  };
  try {
    await Promise.all([writing, watch()]);
  } finally {
    await Promise.all([client.close(), writer.close()]);
  }
  assert.equal(killer.kills, KILLS);
  assert.ok(servedBy.length > KILLS, `${servedBy}`);
  assert.deepEqual(
    seen,
    Array.from({ length: EVENTS }, (_, n) => `/watched/${n + 1}`),
  );
  t.diagnostic(`${writer.unsure} writes of unknown outcome; served by ${servedBy.length} in turn`);
});

/**
 * Kills the leader from time to time, but only while the watch is open at it, so that each kill
 * hits the watch.
 */
class Killer {
  kills = 0;
  /** Resolves when the last killed member is healthy again. */
  killing: Promise<void> = Promise.resolve();
  #victim: ClusterMember | undefined;

  /** @param endpoint of the latest event */
  async see(client: Client, seen: number, endpoint: string): Promise<void> {
    if (this.#victim === undefined) {
      if (this.kills === KILLS || seen < (EVENTS * (this.kills + 1)) / (KILLS + 1)) return;
      await this.killing;
      this.#victim = await cluster.leader(PATIENCE_MS);
      client.endpoints = urls(this.#victim);
    } else if (endpoint === this.#victim.clientUrl) {
      this.killing = this.#kill(this.#victim);
      this.#victim = undefined;
    }
  }

  async #kill(victim: ClusterMember): Promise<void> {
    this.kills++;
    await victim.end("SIGKILL");
    await cluster.leader(PATIENCE_MS);
    victim.start();
    await until(`${victim.name} is back`, PATIENCE_MS, () => victim.isHealthy());
  }
}
