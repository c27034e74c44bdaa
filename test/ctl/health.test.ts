import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { TestMember } from "../support/member.js";
import { ringctl } from "./run.js";

let member: TestMember;
before(async () => {
  member = await TestMember.create("ringd");
});
after(() => member.destroy());

function run(endpoints: string, ...args: readonly string[]) {
  return ringctl(["--endpoints", endpoints, ...args]);
}

const HEALTHY = /^(\S+) is healthy: successfully committed proposal: took = [\d.]+ms\n$/;

test("an endpoint is reported as by etcdctl 3", async () => {
  const { code, out, err } = await run(member.clientUrl, "health");
  assert.deepEqual([code, err], [0, ""]);
  assert.equal(HEALTHY.exec(out)?.[1], member.clientUrl);
  const json = await run(member.clientUrl, "-o", "json", "health");
  const [one, ...more] = JSON.parse(json.out);
  assert.deepEqual([one.endpoint, one.health, more.length], [member.clientUrl, true, 0]);
  assert.match(one.took, /^[\d.]+ms$/);
});

test("an endpoint that cannot be reached is unhealthy", async () => {
  const dead = "http://127.0.0.1:1";
  const line = `${dead} is unhealthy: failed to commit proposal: dial tcp 127.0.0.1:1: connect: connection refused\n`;
  const alone = await run(dead, "health");
  assert.deepEqual(alone, { code: 1, out: line, err: "Error: unhealthy cluster\n" });
  const both = await run(`${dead},${member.clientUrl}`, "--no-sync", "health");
  assert.equal(both.code, 1);
  assert.ok(both.out.startsWith(line), both.out);
  assert.match(both.out.slice(line.length), HEALTHY);
  const misuse = await run(member.clientUrl, "health", "x");
  assert.deepEqual([misuse.code, misuse.err], [128, "Error: no arguments accepted\n"]);
});
