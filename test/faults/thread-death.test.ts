import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { send } from "../support/http.js";
import { TestMember } from "../support/member.js";

/** A member must not survive without one of its threads: real threads die while clients write. */

const WRITERS = 4;
/** Acknowledged writes of each writer before a thread dies. */
const WRITES = 25;
const END_MS = 15_000;

/** Writes until the member has ended. @returns the acknowledged keys */
async function write(member: TestMember, writer: number, onEnough: () => void): Promise<string[]> {
  const acknowledged: string[] = [];
  for (let n = 0; ; n++) {
    const key = `/k/${writer}-${n}`;
    try {
      const { status } = await send(member.port, "PUT", `/v2/keys${key}`, `value=${key}`);
      if (status !== 201) return acknowledged;
    } catch {
      return acknowledged; // No response: it has ended.
    }
    acknowledged.push(key);
    if (n === WRITES) onEnough();
  }
}

async function checkDeath(
  order: string,
  says: RegExp,
  flags: readonly string[] = [],
): Promise<void> {
  const preload = new URL("../support/dying-threads.js", import.meta.url).pathname;
  const folder = mkdtempSync(join(tmpdir(), "ringd-orders-"));
  const orders = join(folder, "orders");
  process.env.DYING_THREADS = orders;
  process.env.NODE_OPTIONS = `--import ${preload}`;
  const member = await TestMember.create("ringd", flags).finally(() => {
    delete process.env.NODE_OPTIONS;
    delete process.env.DYING_THREADS;
  });
  const hanging = setTimeout(() => void member.end("SIGKILL"), END_MS);
  try {
    let waiting = WRITERS;
    const onEnough = () => {
      if (--waiting === 0) writeFileSync(orders, order);
    };
    const writers = Array.from({ length: WRITERS }, (_, i) => write(member, i, onEnough));
    const code = await member.untilExit();
    assert.equal(code, 1, `null: it hung, and was killed\n${member.log}`);
    const fatal = member.log.split("\n").filter((line) => line.includes('"level":"fatal"'));
    assert.equal(fatal.length, 1, member.log);
    assert.match(fatal[0] ?? "", says);
    const acknowledged = (await Promise.all(writers)).flat();
    assert.ok(acknowledged.length >= WRITERS * WRITES);
    await member.start();
    const answer = await send(member.port, "GET", "/v2/keys/k?recursive=true");
    const { nodes } = JSON.parse(answer.body.toString()).node as {
      nodes: { key: string; value: string }[];
    };
    const found = new Map(nodes.map(({ key, value }) => [key, value]));
    for (const key of acknowledged) assert.equal(found.get(key), key);
  } finally {
    clearTimeout(hanging);
    await member.destroy();
    rmSync(folder, { recursive: true });
  }
}

for (const thread of ["core", "wal", "peer"]) {
  test(`an exception on the ${thread} thread ends the member; no acknowledged write is lost`, () =>
    checkDeath(
      `${thread} throw`,
      new RegExp(`"thread crashed: ${thread}: planted: ${thread} dies"`),
    ));

  test(`the ${thread} thread exits, and the member with it`, () =>
    checkDeath(
      `${thread} exit`,
      new RegExp(`the ${thread} thread ended unexpectedly, with code 0`),
    ));
}

test("an unhandled rejection in the peer thread ends the member", () =>
  checkDeath("peer reject", /"thread crashed: peer: planted: peer dies"/));

/** So many entries trigger a snapshot, and with it a job of the pool. */
const SNAPSHOTS = ["--snapshot-count", "10"];

test("an exception in the middle of a job of the pool ends the member", () =>
  checkDeath("pool throw", /"thread crashed: pool: planted: pool dies"/, SNAPSHOTS));

test("a thread of the pool exits in the middle of a job, and the member with it", () =>
  checkDeath("pool exit", /thread crashed: pool/, SNAPSHOTS));
