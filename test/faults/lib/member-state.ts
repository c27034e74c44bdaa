import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { open, send } from "../../support/http.js";
import type { TestMember } from "../../support/member.js";
import { until } from "../../support/until.js";

/** uWebSockets.js gives a connection ten seconds for a request, in steps of four. */
export const CLOSED_MS = 25_000;

export function descriptors(member: TestMember): number {
  return readdirSync(`/proc/${member.pid}/fd`).length;
}

export function rssBytes(member: TestMember): number {
  const status = readFileSync(`/proc/${member.pid}/status`, "utf8");
  return Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1] ?? 0) * 1024;
}

/** Checks that it still serves, on old and new connections. */
export async function serves(member: TestMember, value: string): Promise<void> {
  const watch = await open(member.port, { method: "GET", path: "/v2/keys/alive?wait=true" });
  assert.ok((await send(member.port, "PUT", "/v2/keys/alive", `value=${value}`)).status < 300);
  await watch.ended;
  watch.close();
  assert.equal(JSON.parse(watch.body.toString()).node.value, value);
  const got = await send(member.port, "GET", "/v2/keys/alive?quorum=true");
  assert.equal(JSON.parse(got.body.toString()).node.value, value);
  assert.equal((await send(member.port, "GET", "/health")).body.toString(), '{"health":"true"}');
}

/** All connections are closed again. */
export async function untilDescriptors(member: TestMember, most: number): Promise<void> {
  const what = () => `${descriptors(member)} open files become ${most}`;
  await until(what, CLOSED_MS, () => descriptors(member) <= most);
}
