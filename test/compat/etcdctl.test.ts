import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { send } from "../support/http.js";
import { type MemberKind, TestMember } from "../support/member.js";
import { untilOwnWritesDone } from "./own-writes.js";

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
  // A command that reads no input may exit before the write.
  child.stdin.on("error", () => undefined);
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

/** In this order, to one fresh server. Listings are sorted, as etcd's own order is random. */
const COMMANDS: readonly (readonly string[])[] = [
  ...[
    ["set", "/a", "1"],
    ["get", "/a"],
    ["get", "/none"],
    ["get", "--sort", "/a"],
  ],
  ...[
    ["-o", "extended", "get", "/a"],
    ["-o", "json", "get", "/a"],
    ["get", "--quorum", "/a"],
  ],
  ...[
    ["mk", "/a", "2"],
    ["mk", "/b", "2"],
    ["mk", "--in-order", "/q", "j"],
    ["mk", "--ttl", "100", "/t", "x"],
  ],
  ...[
    ["mkdir", "/d"],
    ["mkdir", "/d"],
    ["mkdir", "/a"],
    ["mkdir", "--ttl", "100", "/dt"],
    ["get", "/d"],
  ],
  ...[
    ["setdir", "/sd"],
    ["setdir", "--ttl", "100", "/sd"],
    ["setdir", "/x/new"],
    ["setdir", "/b"],
  ],
  ...[
    ["updatedir", "/dt", "--ttl", "50"],
    ["updatedir", "/none", "--ttl", "5"],
    ["updatedir", "/d"],
  ],
  ...[
    ["update", "/a", "5"],
    ["update", "/none", "5"],
    ["update", "--ttl", "100", "/a", "6"],
    ["update", "/d", "5"],
  ],
  ...[
    ["ls", "--sort"],
    ["ls", "--sort", "/"],
    ["ls", "--sort", "-p"],
    ["ls", "--sort", "-p", "--recursive"],
  ],
  ...[
    ["ls", "/none"],
    ["ls", "/a"],
    ["ls", "/empty"],
  ],
  ...[
    ["rm", "/d"],
    ["rm", "/none"],
    ["rm", "--dir", "/d"],
    ["rmdir", "/sd"],
    ["rmdir", "/none"],
    ["rmdir", "/a"],
  ],
  ...[
    ["set", "/x/y", "1"],
    ["rmdir", "/x"],
    ["rm", "--dir", "/x"],
    ["rm", "--recursive", "/x"],
  ],
  ...[
    ["set", "/c", "1"],
    ["rm", "--with-value", "2", "/c"],
    ["rm", "--with-index", "3", "/c"],
  ],
  ...[
    ["set", "--swap-with-value", "1", "/c", "2"],
    ["set", "--swap-with-value", "1", "/c", "3"],
  ],
  ...[
    ["set", "--swap-with-index", "1", "/c", "3"],
    ["rm", "--with-value", "2", "/c"],
    ["set", "--ttl", "9", "/c", "x"],
  ],
  ...[
    ["set", "/ключ", "значение"],
    ["get", "/ключ"],
    ["set", "/sp ace/%41", "<&>"],
    ["ls", "-p", "/sp ace"],
  ],
  ...[
    ["set", "/c"],
    ["set"],
    ["get"],
    ["mk"],
    ["mkdir"],
    ["rm"],
    ["rmdir"],
    ["update"],
    ["updatedir"],
  ],
  ...[["setdir"], ["watch"], ["exec-watch"], ["exec-watch", "/a"], ["none"], ["set", "-x", "y"]],
  ...[
    ["watch", "--after-index", "3", "/a"],
    ["watch", "--after-index", "3", "--recursive", "/q"],
  ],
  ...[["-o", "json", "watch", "--after-index", "3", "/a"], ["member", "list"], ["cluster-health"]],
];

/** The output and exit codes of all commands. */
async function outcomes(kind: MemberKind): Promise<string[]> {
  const member = await TestMember.create(kind);
  try {
    await untilOwnWritesDone(member.clientUrl);
    const texts: string[] = [];
    for (const args of COMMANDS) {
      const { code, out, err } = await etcdctl(member.clientUrl, args);
      texts.push(maskOwn(`${args.join(" ")}: exit ${code}\n${out}${err}`));
    }
    const { out } = await etcdctl(member.clientUrl, ["set", "/stdin"], "from\nstandard input\n");
    return [...texts, out];
  } finally {
    await member.destroy();
  }
}

/** Ports, ids and times differ from one server to the next. */
function maskOwn(text: string): string {
  return text
    .replace(/http:\/\/127\.0\.0\.1:\d+/g, "<url>")
    .replace(/(^|member )[0-9a-f]{14,16}(?=:| is )/gm, "$1<id>")
    .replace(/"expiration":"[^"]*"/g, '"expiration":"<time>"');
}

test("each v2 command prints the same and exits with the same code as with etcd", async () => {
  const [etcd, ringd] = await Promise.all([outcomes("etcd"), outcomes("ringd")]);
  assert.deepEqual(ringd, etcd);
});

const DEADLINE_MS = 20_000;

/**
 * Runs a watching etcdctl while some keys change, until it has printed that many lines, and
 * interrupts it.
 *
 * @param isLive changes are made once the watch is open; otherwise before etcdctl starts
 */
async function watched(
  kind: MemberKind,
  args: readonly string[],
  count: number,
  isLive: boolean,
): Promise<Outcome> {
  const member = await TestMember.create(kind);
  const { port } = member;
  const change = async () => {
    await send(port, "PUT", "/v2/keys/d/k", "value=1");
    await send(port, "PUT", "/v2/keys/d/other", "value=2");
    await send(port, "PUT", "/v2/keys/d/k", "value=3");
    await send(port, "DELETE", "/v2/keys/d/k");
  };
  try {
    await untilOwnWritesDone(member.clientUrl);
    if (!isLive) await change();
    const child = spawn("etcdctl", ["--endpoints", member.clientUrl, ...args], {
      env: { ...process.env, ETCDCTL_API: "2" },
    });
    const outcome: Outcome = { code: null, out: "", err: "" };
    child.stdout.on("data", (text) => {
      outcome.out += text;
    });
    child.stderr.on("data", (text) => {
      outcome.err += text;
    });
    const exited = once(child, "close");
    const giveUpMs = Date.now() + DEADLINE_MS;
    const until = async (isTrue: () => Promise<boolean>) => {
      while (Date.now() < giveUpMs && !(await isTrue())) await sleep(5);
    };
    if (isLive) {
      await until(async () => (await watchers(port)) > 0);
      await change();
    }
    await until(async () => outcome.out.split("\n").length > count);
    child.kill("SIGINT");
    [outcome.code] = (await exited) as [number | null];
    return outcome;
  } finally {
    await member.destroy();
  }
}

async function watchers(port: number): Promise<number> {
  const { body } = await send(port, "GET", "/v2/stats/store");
  return (JSON.parse(body.toString()) as { watchers: number }).watchers;
}

for (const kind of ["etcd", "ringd"] as const) {
  test(`etcdctl watch --forever continues, with ${kind}`, async () => {
    const one = await watched(kind, ["watch", "--forever", "/d/k"], 3, true);
    assert.deepEqual(one, { code: 0, out: "1\n3\nPrevNode.Value: 3\n", err: "" });
    const all = ["watch", "--forever", "--recursive", "/d"];
    const out =
      "[set] /d/k\n1\n[set] /d/other\n2\n[set] /d/k\n3\n[delete] /d/k\nPrevNode.Value: 3\n";
    assert.deepEqual(await watched(kind, all, 8, true), { code: 0, out, err: "" });
    const past = [...all.slice(0, 3), "--after-index", "3", "/d"];
    assert.deepEqual(await watched(kind, past, 8, false), { code: 0, out, err: "" });
  });

  test(`etcdctl exec-watch runs a command for each change, with ${kind}`, async () => {
    const fields = ["ACTION", "KEY", "VALUE", "MODIFIED_INDEX"].map(
      (name) => `$ETCD_WATCH_${name}`,
    );
    const command = ["sh", "-c", `echo "${fields.join(" ")}"`];
    const lines = ["delete /d/k  7", "set /d/k 1 4", "set /d/k 3 6", "set /d/other 2 5"];
    const run = async (args: readonly string[], count: number, isLive: boolean) => {
      const { code, out, err } = await watched(kind, ["exec-watch", ...args], count, isLive);
      // The commands run side by side, so their lines come in any order.
      return { code, lines: out.split("\n").slice(0, -1).sort(), err };
    };
    const live = await run(["--recursive", "/d", "--", ...command], 4, true);
    assert.deepEqual(live, { code: 0, lines, err: "" });
    const past = await run(["--after-index", "3", "--recursive", "/d", "--", ...command], 4, false);
    assert.deepEqual(past, { code: 0, lines, err: "" });
  });
}
