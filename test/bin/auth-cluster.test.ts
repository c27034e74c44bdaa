import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { type ClusterMember, TestCluster } from "../support/cluster.js";
import { until } from "../support/until.js";

const AGREE_MS = 20_000;
/** More than one change at once for each member. */
const ROLES = Array.from({ length: 9 }, (_, i) => `r${i}`);

async function call(
  { clientUrl }: ClusterMember,
  method: string,
  path: string,
  json?: unknown,
  password = "rpw",
): Promise<{ status: number; text: string }> {
  const headers: Record<string, string> = { "Content-Type": "application/json" };
  if (password !== "") {
    headers.Authorization = `Basic ${Buffer.from(`root:${password}`).toString("base64")}`;
  }
  const body = json === undefined ? {} : { body: JSON.stringify(json) };
  const answer = await fetch(clientUrl + path, { method, headers, ...body });
  return { status: answer.status, text: await answer.text() };
}

async function admits(member: ClusterMember, password: string): Promise<void> {
  await until(`${member.name} has the password ${password}`, AGREE_MS, async () => {
    const answer = await call(member, "GET", "/v2/auth/users", undefined, password).catch(
      () => null,
    );
    return answer?.status === 200;
  });
}

test("three members agree on users, whoever changes them, and after a snapshot", async () => {
  const cluster = await TestCluster.create({
    kind: "ringd",
    size: 3,
    flags: ["--bcrypt-cost", "4", "--snapshot-count", "20"],
  });
  try {
    const { members } = cluster;
    const [first, second, third] = members as [ClusterMember, ClusterMember, ClusterMember];
    const put = async (member: ClusterMember, path: string, json?: unknown) => {
      const { status, text } = await call(member, "PUT", path, json);
      assert.ok(status === 200 || status === 201, `${path}: ${status} ${text}`);
    };
    await put(first, "/v2/auth/users/root", { user: "root", password: "rpw" });
    await put(second, "/v2/auth/users/ann", { user: "ann", password: "apw" });
    await Promise.all(
      ROLES.map((role, i) => {
        const member = members[i % 3] as ClusterMember;
        return put(member, "/v2/auth/users/ann", { user: "ann", grant: [role] });
      }),
    );
    const { text } = await call(third, "PUT", "/v2/auth/users/ann", {
      user: "ann",
      revoke: ["r0"],
    });
    assert.deepEqual(JSON.parse(text).roles, ROLES.slice(1), "no grant was lost");
    await put(third, "/v2/auth/enable");
    for (const member of members) {
      await until(`${member.name} refuses`, AGREE_MS, async () => {
        return (await call(member, "GET", "/v2/auth/users", undefined, "")).status === 401;
      });
    }

    for (let n = 0; n < 30; n++) await put(first, `/v2/keys/k?value=${n}`);
    await third.end("SIGTERM");
    await put(first, "/v2/auth/users/root", { user: "root", password: "new" });
    third.start();
    await admits(third, "new");
    assert.equal((await call(third, "GET", "/v2/auth/users")).status, 401, "not the old one");

    // After a restart the log in memory begins at a snapshot.
    for (const member of members) {
      await member.end("SIGTERM");
      member.start();
      await admits(member, "new");
    }
    await call(first, "DELETE", "/v2/auth/enable", undefined, "new");
    const fourth = await cluster.grow();
    await until("the new member has caught up", AGREE_MS, async () => {
      const answer = await call(fourth, "GET", "/v2/auth/users").catch(() => undefined);
      return answer?.text.includes('"user":"ann"') === true;
    });
    assert.match(readFileSync(fourth.logFile, "utf8"), /installed snapshot from leader/);
    await call(fourth, "PUT", "/v2/auth/enable", undefined, "");
    await admits(second, "new");
    assert.equal((await call(fourth, "GET", "/v2/auth/users")).status, 401);
  } finally {
    await cluster.destroy();
  }
});
