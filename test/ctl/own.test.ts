import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { Metrics, quantileBetween } from "#ringd/ctl/commands/metrics-text.js";
import { render, type Sample } from "#ringd/ctl/commands/top.js";
import { Latencies } from "#ringd/ctl/output/latencies.js";
import { TestMember } from "../support/member.js";
import { type Outcome, ringctl } from "./run.js";

/** Commands that etcdctl does not have. */

const folder = mkdtempSync(join(tmpdir(), "ringctl-own-"));
let member: TestMember;
before(async () => {
  member = await TestMember.create("ringd");
});
after(async () => {
  await member.destroy();
  rmSync(folder, { recursive: true });
});

function run(args: readonly string[], input = ""): Promise<Outcome> {
  return ringctl(args, { input, env: { RINGCTL_ENDPOINTS: member.clientUrl } });
}

test("a dump restored elsewhere is equal, and --keep does not overwrite", async () => {
  for (const [key, value, ...flags] of [
    ["/d/a", "1"],
    ["/d/b/c", 'ünï "quoted"\nlines', "--ttl", "1000"],
  ] as const) {
    assert.equal((await run(["set", key, value, ...flags])).code, 0);
  }
  await run(["mkdir", "/d/empty", "--ttl", "1000"]);
  const dumped = await run(["dump", "/d"]);
  assert.equal(dumped.err, "");
  const { nodes } = JSON.parse(dumped.out) as { nodes: { key: string; ttl?: number }[] };
  assert.deepEqual(
    nodes.map(({ key, ttl = 0 }) => [key, ttl > 900]),
    [
      ["/d/a", false],
      ["/d/b", false],
      ["/d/b/c", true],
      ["/d/empty", true],
    ],
  );
  const loaded = await run(["load", "/copy"], dumped.out);
  assert.deepEqual(loaded, { code: 0, out: "loaded 4 nodes\n", err: "" });
  const copy = JSON.parse((await run(["dump", "/copy"])).out) as { nodes: { key: string }[] };
  const plain = (list: { key: string }[]) =>
    list.map((node) => ({ ...node, key: node.key.replace("/copy/", "/d/"), ttl: 0 }));
  assert.deepEqual(plain(copy.nodes), plain(nodes));
  await run(["set", "/copy/a", "changed"]);
  const file = join(folder, "dump.json");
  assert.equal((await run(["dump", "/d", "--file", file])).out, "");
  assert.equal((await run(["load", "/copy", "--keep", "-f", file])).code, 0);
  assert.equal((await run(["get", "/copy/a"])).out, "changed\n");
  assert.equal((await run(["load", "/copy", "-f", file])).code, 0);
  assert.equal((await run(["get", "/copy/a"])).out, "1\n");
});

test("an invalid dump is rejected before anything is written", async () => {
  const node =
    '{"format":"ringctl dump 1","root":"/x","index":1,"nodes":[{"key":"/y","value":""}]}';
  for (const text of ["", "{", "{}", "[]", node]) {
    const { code, err } = await run(["load"], text);
    assert.equal(code, 1, text);
    assert.match(err, /^standard input is not a dump: [^\n]+\n$/);
  }
});

test("a snapshot of etcd 0.4 is imported", async () => {
  const leaf = (Path: string, Value: string, ExpireTime = "0001-01-01T00:00:00Z") => ({
    ...{ Path, Value, ExpireTime },
  });
  const Root = {
    Path: "/",
    Children: {
      old: {
        Path: "/old",
        Children: { k: leaf("/old/k", "v"), s: leaf("/old/s", "w", "2001-01-01T00:00:00Z") },
      },
      _hidden: { Path: "/_hidden", Children: { h: leaf("/_hidden/h", "x") } },
    },
  };
  const file = join(folder, "old.snap");
  const state = Buffer.from(JSON.stringify({ Root })).toString("base64");
  writeFileSync(file, `12345678\n${JSON.stringify({ state, lastIndex: 1 })}`);
  const { code, out } = await run(["import", "--snap", file, "--hidden", "/_hidden"]);
  assert.equal(
    out,
    `starting to import snapshot ${file} with 10 clients\nfinished importing 3 keys\n`,
  );
  assert.equal(code, 0);
  assert.match(
    (await run(["-o", "json", "get", "/old/s"])).out,
    /"value":"w".*"ttl":(300|2\d\d)\}/,
  );
  assert.equal((await run(["get", "/_hidden/h"])).out, "x\n");
  assert.match(
    (await run(["import", "--snap", "/none"])).err,
    /^cannot read snapshot file \/none\n$/,
  );
});

test("bench prints latencies and removes its keys", async () => {
  const { code, out, err } = await run(["bench", "--seconds", "1", "-c", "4", "--key", "/load"]);
  assert.equal(err, "");
  assert.equal(code, 0);
  assert.match(
    out,
    /^put: \d+ requests in [\d.]+ s, \d+\/s\n {2}p50 [\d.]+ ms[\s\S]*\nget: \d+ requests/,
  );
  assert.equal((await run(["ls", "/load"])).code, 4);
});

test("the completion scripts are valid and complete words", async () => {
  const { out: script } = await run(["completion", "bash"]);
  const complete = (words: string) => {
    const list = words.split(" ");
    const text = `${script}\nCOMP_WORDS=(${list.map((word) => `"${word}"`).join(" ")}); COMP_CWORD=${list.length - 1}; _ringctl_complete; echo "\${COMPREPLY[@]}"`;
    return spawnSync("bash", ["-c", text], { encoding: "utf8" }).stdout;
  };
  assert.equal(complete("ringctl se"), "set setdir\n");
  assert.equal(complete("ringctl --endpoints x -o json member a"), "add\n");
  assert.equal(complete("ringctl role grant --r"), "--read --readwrite\n");
  assert.match((await run(["completion", "zsh"])).out, /bashcompinit\n/);
  assert.match((await run(["completion", "fish"])).out, /-a set -d 'set the value of a key'\n/);
  const other = await run(["completion", "constructor"]);
  assert.deepEqual(other, { code: 1, out: "", err: "Specify one shell: bash, zsh or fish\n" });
});

test("quantiles of latencies are right within a thousandth", () => {
  const latencies = new Latencies();
  assert.equal(latencies.quantileMs(0.5), 0);
  for (let ms = 1; ms <= 1000; ms++) latencies.record(ms);
  for (const share of [0.5, 0.9, 0.99]) {
    const got = latencies.quantileMs(share) / (share * 1000);
    assert.ok(got >= 1 && got <= 1.001, `${share}: ${got}`);
  }
  assert.equal(latencies.quantileMs(1), 1000);
  const counts = latencies.rows().map((row) => Number(/ms +(\d+)/.exec(row)?.[1]));
  assert.equal(
    counts.reduce((a, b) => a + b, 0),
    1000,
  );
});

test("top shows rates and quantiles since the last refresh", () => {
  const metrics = new Metrics(
    '# HELP f x\nf_bucket{le="0.001"} 10\nf_bucket{le="0.5"} 99\nf_bucket{le="+Inf"} 100\nr{method="GET"} 3\nr{method="PUT"} 4\n',
  );
  assert.equal(metrics.sum("r"), 7);
  assert.equal(metrics.sum("none"), undefined);
  const buckets = metrics.buckets("f");
  assert.equal(quantileBetween(new Map(), buckets, 0.99), 0.5);
  assert.equal(quantileBetween(buckets, buckets, 0.99), undefined);
  const member = { id: "ab", name: "n", peerURLs: [], clientURLs: [] };
  const sample = (atMs: number, requests: number): Sample => ({
    ...{ member, atMs, role: "leader", term: 2, index: 9, requests, fsyncs: buckets },
  });
  const down: Sample = {
    ...{ ...sample(2000, 0), member: { ...member, id: "cd", name: "" }, role: "down" },
    ...{ term: undefined, index: undefined, requests: undefined, fsyncs: new Map() },
  };
  const table = render([sample(0, 10)], [sample(2000, 30), down], false);
  assert.deepEqual(
    table.split("\n").map((line) => line.split(/ {2,}/).map((cell) => cell.trim())),
    [
      ["MEMBER", "NAME", "ROLE", "TERM", "INDEX", "LAG", "REQ/S", "FSYNC P99"],
      ["ab", "n", "leader", "2", "9", "0", "10", "-"],
      ["cd", "-", "down", "-", "-", "-", "-", "-"],
      [""],
    ],
  );
  assert.ok(render([], [down], true).includes("\u001b[31mdown"));
});
