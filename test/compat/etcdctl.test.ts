import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";
import { TestMember } from "../support/member.js";

interface Outcome {
  code: number | null;
  out: string;
  err: string;
}

/** Debian's etcdctl with the v2 commands: package etcd-client. */
async function etcdctl(url: string, args: readonly string[], input = ""): Promise<Outcome> {
  const child = spawn("etcdctl", ["--endpoints", url, ...args], {
    env: { ...process.env, ETCDCTL_API: "2" },
  });
  const outcome: Outcome = { code: null, out: "", err: "" };
  child.stdout.on("data", (text) => {
    outcome.out += text;
  });
  child.stderr.on("data", (text) => {
    outcome.err += text;
  });
  child.stdin.end(input);
  [outcome.code] = (await once(child, "close")) as [number | null];
  return outcome;
}

test("the v2 commands of etcdctl print what they print with etcd", async () => {
  const member = await TestMember.create("ringd");
  const run = (...args: string[]) => etcdctl(member.clientUrl, args);
  const says = async (out: string, ...args: string[]) =>
    assert.deepEqual(await run(...args), { code: 0, out, err: "" }, args.join(" "));
  try {
    await says("Hello\n", "set", "/message", "Hello");
    await says("Hello\n", "get", "/message");
    await says("v2\n", "set", "/message", "v2", "--swap-with-value", "Hello");
    await says("new\n", "mk", "/dir/made", "new");
    await says("", "mkdir", "/empty");
    await says("changed\n", "update", "/dir/made", "changed");
    await says("/dir\n/empty\n/message\n", "ls", "--sort");
    await says("/dir/made\n", "ls", "/dir", "--recursive");
    await says("", "rmdir", "/empty");
    await says("PrevNode.Value: changed\n", "rm", "/dir/made");
    await says("job\n", "mk", "--in-order", "/queue", "job");
    await says("short\n", "set", "/ttl", "short", "--ttl", "100");
    const json = JSON.parse((await run("-o", "json", "get", "/message")).out);
    assert.equal(json.node.value, "v2");
    const missing = await run("get", "/none");
    assert.equal(missing.code, 4);
    assert.match(missing.err, /^Error: {2}100: Key not found \(\/none\) \[\d+\]\n$/);
    const taken = await run("mk", "/message", "x");
    assert.match(taken.err, /^Error: {2}105: Key already exists \(\/message\) \[\d+\]\n$/);
    const failed = await run("set", "/message", "x", "--swap-with-value", "other");
    assert.match(failed.err, /101: Compare failed \(\[other != v2\]\)/);
    const health = await run("cluster-health");
    assert.match(health.out, /cluster is healthy\n$/);
    const list = await run("member", "list");
    assert.match(list.out, /^[0-9a-f]+: name=default peerURLs=.* clientURLs=.* isLeader=true\n$/);
  } finally {
    await member.destroy();
  }
});

test("etcdctl watch sees changes", async () => {
  const member = await TestMember.create("ringd");
  try {
    await etcdctl(member.clientUrl, ["set", "/d/k", "1"]);
    // From the history: no need to know when the watch is open.
    const watched = await etcdctl(member.clientUrl, [
      "watch",
      "/d",
      "--recursive",
      "--after-index",
      "3",
    ]);
    assert.deepEqual(watched, { code: 0, out: "[set] /d/k\n1\n", err: "" });
  } finally {
    await member.destroy();
  }
});
