import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { send } from "../support/http.js";
import { type MemberKind, PORT_LOST, TestMember } from "../support/member.js";
import { until } from "../support/until.js";

export function hasProgram(name: string, flag: string): boolean {
  return spawnSync(name, [flag], { timeout: 5000 }).error === undefined;
}

export function hasEtcd(): boolean {
  return hasProgram("etcd", "--version");
}

/**
 * Founds a cluster of members that get only these flags, and a name each.
 *
 * @param flagsOf for each attempt, as a token serves for one: a port may be lost before it is bound
 */
export async function found(
  kind: MemberKind,
  size: number,
  flagsOf: (attempt: number) => Promise<readonly string[]>,
): Promise<TestMember[]> {
  for (let attempt = 1; ; attempt++) {
    const flags = await flagsOf(attempt);
    const members: TestMember[] = [];
    for (let n = 1; n <= size; n++) {
      members.push(await TestMember.make(kind, ["--name", `n${n}`, ...flags]));
    }
    try {
      await Promise.all(members.map((member) => member.start()));
      return members;
    } catch (error) {
      await destroy(members);
      if (attempt === 5 || !members.some(({ log }) => PORT_LOST.test(log))) throw error;
    }
  }
}

export async function destroy(members: readonly TestMember[]): Promise<void> {
  await Promise.all(members.map((member) => member.destroy()));
}

/** They are one cluster: each lists all, and a write through one is read through another. */
export async function assertOneCluster(
  members: readonly TestMember[],
  value = "all",
): Promise<void> {
  const [first, ...rest] = members;
  assert.ok(first !== undefined);
  await until("all have published themselves", 20_000, async () => {
    const { body } = await send(first.port, "GET", "/v2/members");
    return (body.toString().match(/"name":"n\d"/g) ?? []).length === members.length;
  });
  const { status } = await send(first.port, "PUT", "/v2/keys/hello", `value=${value}`);
  assert.ok(status === 200 || status === 201);
  for (const { port } of rest) {
    const read = await send(port, "GET", "/v2/keys/hello?quorum=true");
    assert.ok(read.body.toString().includes(`"value":"${value}"`));
  }
}
