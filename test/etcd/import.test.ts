import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { etcdctl, ringctl } from "../ctl/run.js";
import { TestMember } from "../support/member.js";
import { answersOf, fill, usersOf } from "./scenario.js";

/** `ringctl import` of the directories of a real etcd: both servers answer alike afterwards. */

const hasEtcd = spawnSync("etcd", ["--version"]).status === 0;
const needsEtcd = { skip: hasEtcd ? false : "etcd is not installed" };

async function importInto(target: TestMember, source: string, ...more: string[]) {
  return await ringctl([
    ...["import", "--etcd-data-dir", source, "--data-dir", target.dataDir],
    ...["--initial-advertise-peer-urls", target.peerUrl, ...more],
  ]);
}

/** Imports a stopped etcd's directory, starts both, and compares. */
async function assertSameAnswers(etcd: TestMember): Promise<void> {
  const ringd = await TestMember.make("ringd");
  try {
    const { code, out, err } = await importInto(ringd, etcd.dataDir);
    assert.deepEqual({ code, err }, { code: 0, err: "" });
    await Promise.all([etcd.start(), ringd.start()]);
    // Each start publishes the member, which takes an index; then one write that all see.
    for (const { clientUrl } of [etcd, ringd]) {
      await fetch(`${clientUrl}/v2/keys/visible/last?value=1`, { method: "PUT" });
    }
    const [expected, got] = await Promise.all([
      answersOf(etcd.clientUrl),
      answersOf(ringd.clientUrl),
    ]);
    assert.deepEqual(got, expected);
    assert.ok(expected.events.length > 80);
    assert.match(out, new RegExp(`etcd index +${expected.index - 2} `));
    const users = await usersOf(ringd.clientUrl);
    if (users === undefined) process.stderr.write("users are not compared: ringd has none\n");
    else assert.deepEqual(users, await usersOf(etcd.clientUrl));
    assert.match(out, /users +2, 2 roles; authentication is on\n/);
  } finally {
    await ringd.destroy();
  }
}

test("a directory with 2,000 entries after its snapshot", needsEtcd, async () => {
  const etcd = await TestMember.create("etcd", ["--snapshot-count", "2500"]);
  try {
    await fill(etcd.clientUrl, 2200);
    await etcd.end("SIGTERM");
    const snapshots = readdirSync(join(etcd.dataDir, "member/snap")).filter((name) =>
      name.endsWith(".snap"),
    );
    assert.equal(snapshots.length, 1, "one snapshot, and some 2,000 entries after it");
    await assertSameAnswers(etcd);
  } finally {
    await etcd.destroy();
  }
});

test("a directory without a snapshot, of an etcd that was killed", needsEtcd, async () => {
  const etcd = await TestMember.create("etcd");
  try {
    await fill(etcd.clientUrl, 100);
    await etcd.end("SIGKILL");
    await assertSameAnswers(etcd);
  } finally {
    await etcd.destroy();
  }
});

test("a log of several segments, in a directory of its own", needsEtcd, async () => {
  const etcd = await TestMember.create("etcd", ["--snapshot-count", "50"]);
  try {
    await fill(etcd.clientUrl, 40);
    const body = `value=${"x".repeat(4 * 2 ** 20)}`;
    const headers = { "content-type": "application/x-www-form-urlencoded" };
    for (let i = 0; i < 20; i++) {
      await fetch(`${etcd.clientUrl}/v2/keys/large`, { method: "PUT", body, headers });
    }
    await fetch(`${etcd.clientUrl}/v2/keys/large`, { method: "DELETE" });
    await etcd.end("SIGTERM");
    const walDir = join(etcd.dataDir, "member/wal");
    const segments = readdirSync(walDir).filter((name) => name.endsWith(".wal"));
    assert.ok(segments.length > 1, segments.join());
    assert.ok(statSync(walDir).isDirectory());
    await assertSameAnswers(etcd);
  } finally {
    await etcd.destroy();
  }
});

test("members that were added and removed take the indexes they took", needsEtcd, async () => {
  const etcd = await TestMember.create("etcd", ["--strict-reconfig-check=false"]);
  const second = await TestMember.make("etcd", ["--name", "second"]);
  try {
    const members = `${etcd.clientUrl}/v2/members`;
    const added = await fetch(members, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ peerURLs: [second.peerUrl] }),
    });
    const { id } = (await added.json()) as { id: string };
    const cluster = `default=${etcd.peerUrl},second=${second.peerUrl}`;
    await second.start(["--initial-cluster", cluster, "--initial-cluster-state", "existing"]);
    await fetch(`${etcd.clientUrl}/v2/keys/with-two?value=1`, { method: "PUT" });
    const imported = async (dataDir: string) => {
      const args = ["import", "--etcd-data-dir", dataDir, "--data-dir", `${dataDir}-new`];
      const { code, out, err } = await ringctl(args);
      assert.equal(code, 0, err);
      return out;
    };
    assert.equal((await fetch(`${members}/${id}`, { method: "DELETE" })).status, 204);
    await second.untilExit();
    const last = await fetch(`${etcd.clientUrl}/v2/keys/alone?value=1`, { method: "PUT" });
    const index = last.headers.get("x-etcd-index");
    await etcd.end("SIGTERM");
    assert.match(await imported(etcd.dataDir), new RegExp(`etcd index +${index} `));
  } finally {
    await etcd.destroy();
    await second.destroy();
  }
});

test("data of the v3 API: said, not carried", needsEtcd, async () => {
  const etcd = await TestMember.create("etcd");
  try {
    await fetch(`${etcd.clientUrl}/v2/keys/a?value=1`, { method: "PUT" });
    const imported = async (dataDir: string) => {
      await etcd.end("SIGTERM");
      const args = ["import", "--etcd-data-dir", etcd.dataDir, "--data-dir", dataDir];
      const { code, out } = await ringctl(args);
      assert.equal(code, 0);
      return out;
    };
    assert.doesNotMatch(await imported(`${etcd.dataDir}-1`), /left out/);
    await etcd.start();
    const env = { ETCDCTL_API: "3", ETCDCTL_ENDPOINTS: etcd.clientUrl };
    for (let i = 0; i < 300; i++) {
      const key = Buffer.from(`key${i}`).toString("base64");
      const value = Buffer.alloc(120, "v").toString("base64");
      const body = JSON.stringify({ key, value });
      await fetch(`${etcd.clientUrl}/v3/kv/put`, { method: "POST", body });
    }
    assert.equal((await etcdctl(["lease", "grant", "100"], { env })).code, 0);
    assert.match(
      await imported(`${etcd.dataDir}-2`),
      /left out +data of the v3 API in .*\/db: 300 revisions of keys, 1 lease, 0 users\n {2}left out +301 requests/,
    );
  } finally {
    await etcd.destroy();
  }
});

test("refused while etcd runs", needsEtcd, async () => {
  const etcd = await TestMember.create("etcd");
  const ringd = await TestMember.make("ringd");
  try {
    const { code, out, err } = await importInto(ringd, etcd.dataDir);
    assert.deepEqual({ code, out }, { code: 1, out: "" });
    assert.match(
      err,
      /^Cannot use etcd directory .*: another process has locked .*; stop etcd first\n$/,
    );
  } finally {
    await etcd.destroy();
    await ringd.destroy();
  }
});

test("--detect-v2: nothing but the members in a new etcd", needsEtcd, async () => {
  const etcd = await TestMember.create("etcd");
  try {
    await etcd.end("SIGTERM");
    const detect = ["import", "--etcd-data-dir", etcd.dataDir, "--detect-v2"];
    const none = await ringctl(detect);
    assert.deepEqual(none, {
      ...{ code: 0, out: "" },
      err: "no v2 content beside members and version\n",
    });
    await etcd.start();
    await fetch(`${etcd.clientUrl}/v2/keys/a/_b?value=1`, { method: "PUT" });
    await etcd.end("SIGTERM");
    const some = await ringctl(detect);
    assert.deepEqual(some, { code: 5, out: "/a/\n/a/_b\n", err: "v2 content: 2 keys\n" });
  } finally {
    await etcd.destroy();
  }
});
