import assert from "node:assert/strict";
import { Agent, request } from "node:http";
import { test } from "node:test";
import { TestMember } from "../support/member.js";
import { Prng } from "../support/prng.js";
import { SEED } from "../support/seed.js";

/** ROUNDS=200 kills two hundred times; SEED=n replays the moments. */
const rounds = Number(process.env.ROUNDS ?? 5);
/** The first ones write the watched keys, the others make load. */
const WRITERS = 8;
const WATCHED_WRITERS = 2;

/** A writer's key and its last acknowledged write. */
interface Writer {
  readonly key: string;
  value: number;
  index: number;
  /** The store's index at the member's last start: later indexes are above it. */
  floor: number;
}

interface Change {
  readonly key: string;
  readonly value: number;
  readonly index: number;
}

interface Reply {
  status: number;
  /** X-Etcd-Index. */
  storeIndex: number;
  body: {
    node?: { key: string; value?: string; modifiedIndex: number };
    errorCode?: number;
    index?: number;
    cause?: string;
  };
}

function call(agent: Agent, url: string, method: string, form?: string): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const headers = { "Content-Type": "application/x-www-form-urlencoded" };
    const req = request(url, { method, agent, headers }, (response) => {
      let text = "";
      response.on("data", (part) => {
        text += part;
      });
      response.on("error", reject);
      response.on("aborted", () => reject(new Error("cut off")));
      response.on("end", () => {
        try {
          resolve({
            status: response.statusCode ?? 0,
            storeIndex: Number(response.headers["x-etcd-index"]),
            body: JSON.parse(text) as Reply["body"],
          });
        } catch (error) {
          reject(error);
        }
      });
    });
    req.on("error", reject);
    req.end(form);
  });
}

/** Repeats `turn` until it returns true or the member dies. @throws AssertionError */
async function untilKilled(turn: (agent: Agent) => Promise<boolean>): Promise<void> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  try {
    while (!(await turn(agent)));
  } catch (error) {
    if (error instanceof assert.AssertionError) throw error;
  } finally {
    agent.destroy();
  }
}

/**
 * Writes 1, 2, 3, ... to its key; records acknowledged writes, also in `acknowledged`, by index.
 */
function write(
  member: TestMember,
  writer: Writer,
  acknowledged: Map<number, Change>,
): Promise<void> {
  return untilKilled(async (agent) => {
    const { key } = writer;
    const value = writer.value + 1;
    const url = `${member.clientUrl}/v2/keys${key}`;
    const { status, body } = await call(agent, url, "PUT", `value=${value}`);
    assert.ok(status === 200 || status === 201, `status ${status}`);
    const index = body.node?.modifiedIndex ?? 0;
    assert.ok(index > writer.index, `${key}: index ${index} comes after ${writer.index}`);
    assert.ok(index > writer.floor, `${key}: index ${index} comes after ${writer.floor}`);
    const other = acknowledged.get(index);
    assert.equal(other, undefined, `index ${index} is given once, not to ${key} too`);
    acknowledged.set(index, { key, value, index });
    writer.value = value;
    writer.index = index;
    return false;
  });
}

/** A watch that resumes by waitIndex after each event, and across all restarts. */
interface Follower {
  /** Path and query without the index. */
  readonly target: string;
  next: number;
  readonly seen: Change[];
}

/** @param last index to wait for; undefined: until the member dies */
function follow(
  member: TestMember,
  follower: Follower,
  last = Number.POSITIVE_INFINITY,
): Promise<void> {
  return untilKilled(async (agent) => {
    const url = `${member.clientUrl}/v2/keys${follower.target}&waitIndex=${follower.next}`;
    const { body } = await call(agent, url, "GET");
    assert.equal(body.errorCode, undefined, `the watch fell out of the history: ${body.cause}`);
    const { key = "", value, modifiedIndex: index = 0 } = body.node ?? {};
    assert.ok(index >= follower.next, `event ${index} comes when ${follower.next} is waited for`);
    follower.seen.push({ key, value: Number(value), index });
    follower.next = index + 1;
    return index >= last;
  });
}

/**
 * Checks the member's state after a restart against what it acknowledged before.
 *
 * @param highest acknowledged index
 */
async function checkRestarted(
  member: TestMember,
  writers: readonly Writer[],
  highest: number,
): Promise<void> {
  const agent = new Agent();
  for (const writer of writers) {
    const url = `${member.clientUrl}/v2/keys${writer.key}`;
    const { body, storeIndex } = await call(agent, url, "GET");
    assert.ok(storeIndex >= highest, `the store is at ${storeIndex}, ${highest} was acknowledged`);
    const value = Number(body.node?.value ?? 0);
    const index = body.node?.modifiedIndex ?? 0;
    if (value === writer.value) {
      assert.equal(index, writer.index, `${writer.key}: the write has the index it was told`);
    } else {
      // The write in flight may have happened; continue from the stored value.
      assert.equal(value, writer.value + 1, `${writer.key}: told ${writer.value}, finds ${value}`);
    }
    writer.value = value;
    writer.index = index;
    writer.floor = storeIndex; // Before any write.
  }
}

/** Each key's values arrived once and in order, and each acknowledged change unaltered. */
function checkSeen(
  follower: Follower,
  writers: readonly Writer[],
  acknowledged: Map<number, Change>,
): void {
  for (const { key, value } of writers) {
    const values = follower.seen.filter((change) => change.key === key).map((one) => one.value);
    assert.deepEqual(
      values,
      Array.from({ length: value }, (_, i) => i + 1),
      `${follower.target} saw every write of ${key}`,
    );
  }
  for (const change of follower.seen) {
    const told = acknowledged.get(change.index);
    if (told !== undefined) assert.deepEqual(change, told);
  }
}

test(`kill -9 under load loses nothing acknowledged, ${rounds} rounds, SEED=${SEED}`, async () => {
  const prng = new Prng(SEED);
  // A snapshot every round or two; a history long enough for late watches.
  const flags = ["--snapshot-count", "3000", "--event-history", "1000000"];
  const member = await TestMember.create("ringd", flags);
  const writers = Array.from({ length: WRITERS }, (_, i) => ({
    key: i < WATCHED_WRITERS ? `/watched/${i}` : `/load/${i}`,
    value: 0,
    index: 0,
    floor: 0,
  }));
  const watched = writers.slice(0, WATCHED_WRITERS);
  const acknowledged = new Map<number, Change>();
  const one: Follower = { target: "/watched/0?wait=true", next: 4, seen: [] };
  const all: Follower = { target: "/watched?wait=true&recursive=true", next: 4, seen: [] };
  try {
    for (let round = 0; round < rounds; round++) {
      const ended = Promise.all([
        ...writers.map((writer) => write(member, writer, acknowledged)),
        follow(member, one),
        follow(member, all),
      ]);
      const killAfterMs = 100 + prng.below(500);
      await new Promise((resolve) => setTimeout(resolve, killAfterMs));
      await member.end("SIGKILL");
      await ended;
      await member.start();
      const highest = writers.reduce((most, { index }) => Math.max(most, index), 0);
      await checkRestarted(member, writers, highest);
    }
    const agent = new Agent();
    const [first] = watched as [Writer];
    first.value++;
    const url = `${member.clientUrl}/v2/keys${first.key}`;
    const { body } = await call(agent, url, "PUT", `value=${first.value}`);
    const last = body.node?.modifiedIndex ?? 0;
    await Promise.all([follow(member, one, last), follow(member, all, last)]);
    const total = watched.reduce((sum, { value }) => sum + value, 0);
    checkSeen(one, watched.slice(0, 1), acknowledged);
    checkSeen(all, watched, acknowledged);
    assert.ok(total > rounds, `the load was real: ${total} writes`);
  } finally {
    await member.destroy();
  }
});
