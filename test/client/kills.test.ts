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

/** `KIND=etcd` asks etcd itself. */
const KIND: MemberKind = process.env.KIND === "etcd" ? "etcd" : "ringd";

/** `EVENTS=10000` is the long form. */
const EVENTS = Number(process.env.EVENTS ?? 400);
const KILLS = 3;
/** Writes that the watch has not seen yet: well within the history, so that it never has to read anew. */
const AHEAD_MAX = 200;
/** What was on its way through a killed leader is never answered: not worth more patience. */
const TIMEOUT_MS = 1000;
/** How long an election or a start may take on a machine that is busy with other tests. */
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

/** Creates keys one after the other, so that every event is of another key; tells how far it is. */
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

  /** Ends it, wherever it is. */
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
  // Without a writer there is nothing to wait for.
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

/** Kills the leader when it is time, and only while the watch waits there, so that it is hit each time. */
class Killer {
  kills = 0;
  /** The last kill, until who was killed is back. */
  killing: Promise<void> = Promise.resolve();
  #victim: ClusterMember | undefined;

  /** @param endpoint who told the latest event */
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
