import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import {
  Client,
  KeyExistsError,
  MaybeAppliedError,
  UnavailableError,
} from "#ringd/client/index.js";
import { type ClusterMember, TestCluster, until } from "../support/cluster.js";

/** `EVENTS=10000` is the long form. */
const EVENTS = Number(process.env.EVENTS ?? 800);
const KILLS = 3;
/** Writes that the watch has not seen yet: well within the history, so that it never has to read anew. */
const AHEAD_MAX = 300;
/** What was on its way through a killed leader is never answered: not worth more patience. */
const TIMEOUT_MS = 1000;

let cluster: TestCluster;

before(async () => {
  cluster = await TestCluster.create({
    kind: "ringd",
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
    await this.#client.close();
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
  const servedBy: string[] = [];
  const seen: string[] = [];
  let last = index;
  let kills = 0;
  let killing: Promise<void> | undefined;
  let victim: ClusterMember | undefined;
  const killAt = Array.from({ length: KILLS }, (_, n) =>
    Math.floor((EVENTS * (n + 1)) / (KILLS + 1)),
  );

  for await (const item of client.watch("/watched", { recursive: true, afterIndex: index })) {
    assert.equal(item.kind, "event", `${item.kind === "reset" && item.reason}`);
    assert.ok(item.index > last, "events are in order");
    last = item.index;
    seen.push(item.node?.key ?? "");
    if (servedBy.at(-1) !== item.endpoint) servedBy.push(item.endpoint);
    writer.noteSeen();
    if (seen.length === EVENTS) break;
    if (seen.length >= (killAt[kills] ?? Number.POSITIVE_INFINITY) && victim === undefined) {
      await killing;
      victim = await cluster.leader();
      // The next wait is at the leader, so that killing it hits the watch.
      client.endpoints = urls(victim);
    } else if (victim !== undefined && item.endpoint === victim.clientUrl) {
      const dying = victim;
      victim = undefined;
      kills++;
      killing = (async () => {
        await dying.end("SIGKILL");
        await cluster.leader();
        dying.start();
        await until(`${dying.name} is back`, 30_000, () => dying.isHealthy());
      })();
    }
  }
  await Promise.all([writing, killing]);
  assert.equal(kills, KILLS);
  assert.ok(servedBy.length > KILLS, `${servedBy}`);
  assert.deepEqual(
    seen,
    Array.from({ length: EVENTS }, (_, n) => `/watched/${n + 1}`),
  );
  t.diagnostic(`${writer.unsure} writes of unknown outcome; served by ${servedBy.length} in turn`);
  await client.close();
});
