import assert from "node:assert/strict";
import { Agent, request } from "node:http";
import { test } from "node:test";
import { Prng } from "#ringd/lib/prng.js";
import { TestMember } from "../support/member.js";

/** ROUNDS=200 kills two hundred times; SEED=n replays the moments. */
const rounds = Number(process.env.ROUNDS ?? 5);
const seed = Number(process.env.SEED ?? 1 + Math.floor(Math.random() * 2 ** 31));
const WRITERS = 8;

interface Acknowledged {
  value: number;
  index: number;
}

interface Reply {
  status: number;
  body: {
    node?: { value?: string; modifiedIndex: number };
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
          resolve({ status: response.statusCode ?? 0, body: JSON.parse(text) as Reply["body"] });
        } catch (error) {
          reject(error);
        }
      });
    });
    req.on("error", reject);
    req.end(form);
  });
}

/** Writes 1, 2, 3, ... to its key until the member dies; remembers what was acknowledged. */
async function write(member: TestMember, writer: number, last: Acknowledged): Promise<void> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  try {
    for (;;) {
      const value = last.value + 1;
      const url = `${member.clientUrl}/v2/keys/w/${writer}`;
      const { status, body } = await call(agent, url, "PUT", `value=${value}`);
      assert.ok(status === 200 || status === 201, `status ${status}`);
      const index = body.node?.modifiedIndex ?? 0;
      assert.ok(index > last.index, "indexes go on");
      last.value = value;
      last.index = index;
    }
  } catch (error) {
    if (error instanceof assert.AssertionError) throw error;
  } finally {
    agent.destroy();
  }
}

/** Follows one key by waitIndex over all restarts; every value has to come, in order. */
async function follow(member: TestMember, state: { next: number; seen: number[] }): Promise<void> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  try {
    for (;;) {
      const url = `${member.clientUrl}/v2/keys/w/0?wait=true&waitIndex=${state.next}`;
      const { body } = await call(agent, url, "GET");
      assert.equal(body.errorCode, undefined, `the watch fell out of the history: ${body.cause}`);
      state.seen.push(Number(body.node?.value));
      state.next = (body.node?.modifiedIndex ?? 0) + 1;
    }
  } catch (error) {
    if (error instanceof assert.AssertionError) throw error;
  } finally {
    agent.destroy();
  }
}

test(`kill -9 under load loses nothing acknowledged, ${rounds} rounds, SEED=${seed}`, async () => {
  const prng = new Prng(seed);
  // Small enough for a snapshot every round or two; a history that covers what a round writes.
  const flags = ["--snapshot-count", "3000", "--event-history", "200000"];
  const member = await TestMember.create("ringd", flags);
  const acknowledged = Array.from({ length: WRITERS }, () => ({ value: 0, index: 0 }));
  const watch = { next: 4, seen: [] as number[] };
  try {
    for (let round = 0; round < rounds; round++) {
      const work = [
        ...acknowledged.map((last, writer) => write(member, writer, last)),
        follow(member, watch),
      ];
      const ended = Promise.all(work);
      const killAfterMs = 100 + prng.below(500);
      await new Promise((resolve) => setTimeout(resolve, killAfterMs));
      await member.end("SIGKILL");
      await ended;
      await member.start();
      const agent = new Agent();
      for (const [writer, last] of acknowledged.entries()) {
        const { body } = await call(agent, `${member.clientUrl}/v2/keys/w/${writer}`, "GET");
        const value = Number(body.node?.value ?? 0);
        assert.ok(
          value === last.value || value === last.value + 1,
          `round ${round}: writer ${writer} was told ${last.value}, finds ${value}`,
        );
        // The write in flight may have happened; the next one continues from what is there.
        last.value = value;
        last.index = body.node?.modifiedIndex ?? 0;
      }
    }
    const total = acknowledged[0]?.value ?? 0;
    const ended = follow(member, watch);
    const agent = new Agent();
    while (watch.seen.length < total) {
      await call(agent, `${member.clientUrl}/v2/keys/nudge`, "PUT", "value=1");
    }
    await member.end("SIGKILL");
    await ended;
    assert.deepEqual(
      watch.seen,
      Array.from({ length: total }, (_, i) => i + 1),
    );
    assert.ok(total > rounds, `the load was real: ${total} writes`);
  } finally {
    await member.destroy();
  }
});
