import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { ringctl } from "../ctl/run.js";
import { TestMember } from "../support/member.js";
import { FixtureDir, readFixture } from "./fixture.js";

/** The command line of `ringctl import --etcd-data-dir`, on a kept directory of etcd. */

let dir: FixtureDir;
before(() => {
  dir = new FixtureDir();
});
after(() => dir.remove());

function importTo(target: string, ...more: string[]) {
  return ringctl(["import", "--etcd-data-dir", dir.path, "--data-dir", target, ...more]);
}

async function fails(line: RegExp, target: string, ...more: string[]): Promise<void> {
  const { code, out, err } = await importTo(target, ...more);
  assert.deepEqual({ code, out }, { code: 1, out: "" });
  assert.match(err, line);
  assert.equal(err.split("\n").length, 2, "one line");
}

test("a member starts on the result, also with its log elsewhere", async () => {
  const ringd = await TestMember.make("ringd", ["--name", "first"]);
  const walDir = join(ringd.dataDir, "../log");
  try {
    mkdirSync(ringd.dataDir); // Empty is as good as absent.
    const peer = ["--initial-advertise-peer-urls", ringd.peerUrl];
    const more = ["--name", "first", "--initial-cluster-token", "t", "--wal-dir", walDir];
    const { code, out } = await importTo(ringd.dataDir, ...peer, ...more);
    assert.equal(code, 0);
    assert.match(out, /^imported member [0-9a-f]+ of cluster [0-9a-f]+ from .*\nto .*\n/);
    assert.match(out, /\n {2}keys +\d+ \(3 hidden\)\n/);
    assert.equal(statSync(ringd.dataDir).mode & 0o777, 0o700);
    assert.deepEqual(readdirSync(join(ringd.dataDir, "..")).sort(), ["data", "log"]);
    await ringd.start(["--wal-dir", walDir]);
    const members = await fetch(`${ringd.clientUrl}/v2/members`);
    const { members: list } = (await members.json()) as { members: Record<string, unknown>[] };
    assert.deepEqual(
      list.map(({ name, peerURLs }) => ({ name, peerURLs })),
      [{ name: "first", peerURLs: [ringd.peerUrl] }],
    );
    const response = await fetch(`${ringd.clientUrl}/v2/keys/_hidden/key`);
    // It publishes itself, and what has expired since the fixture was made takes an index each.
    const own = Number(response.headers.get("x-etcd-index")) - readFixture().answers.index;
    assert.ok(own >= 1, `${own}`);
    assert.equal(response.status, 200);
  } finally {
    await ringd.destroy();
  }
});

test("bad input: one line, and nothing is written", async () => {
  const target = join(dir.parent, "new");
  const full = join(dir.parent, "full");
  mkdirSync(full);
  writeFileSync(join(full, "file"), "");
  const before = readdirSync(dir.parent).sort();
  for (const args of [["--detect-v2"], ["--data-dir", target]]) {
    const { code, err } = await ringctl(["import", ...args]);
    assert.equal(code, 1);
    assert.equal(err, "--etcd-data-dir is needed: the data directory of a stopped etcd\n");
  }
  await fails(/^--data-dir is needed: the data directory to make$/m, "");
  await fails(/^.*\/full is not empty$/m, full);
  await fails(/^.*\/full is not empty$/m, target, "--wal-dir", full);
  await fails(/^--initial-advertise-peer-urls: URL address/, target, ...peerUrls("http://host"));
  await fails(
    /^.*\/full\/file: (not a directory|file already exists)$/m,
    join(full, "file", "new"),
  );
  await fails(/ENOTDIR|not a directory/, join(full, "file"));
  const whole = readFileSync(dir.log);
  const bytes = Buffer.from(whole);
  bytes[5000] = (bytes[5000] as number) ^ 1;
  writeFileSync(dir.log, bytes);
  await fails(/^Cannot read .*\.wal at byte \d+: /, target);
  await fails(/^Cannot read .*\.wal at byte \d+: /, target, "--detect-v2");
  writeFileSync(dir.log, whole);
  await fails(
    /^Cannot use etcd directory .*\/etcd: there is no log in/,
    target,
    "--etcd-wal-dir",
    full,
  );
  assert.deepEqual(readdirSync(dir.parent).sort(), before);
  rmSync(full, { recursive: true });
});

test("--wal-dir is the new member's, --etcd-wal-dir is etcd's", async () => {
  const target = join(dir.parent, "new");
  const walDir = join(dir.parent, "wal");
  renameSync(join(dir.path, "member/wal"), walDir);
  try {
    await fails(
      /^--wal-dir .* is the new member's; .* by --etcd-wal-dir$/m,
      target,
      "--wal-dir",
      walDir,
    );
    assert.equal((await importTo(target, "--etcd-wal-dir", walDir)).code, 0);
  } finally {
    renameSync(walDir, join(dir.path, "member/wal"));
    rmSync(target, { recursive: true, force: true });
  }
});

test("a full disk: one line, and nothing is left", async (t) => {
  const place = join(dir.parent, "full");
  mkdirSync(place);
  const mount = ["-t", "tmpfs", "-o", "size=64k", "tmpfs", place];
  if (spawnSync("mount", mount).status !== 0) {
    t.skip("no permission to mount a small disk");
    return;
  }
  try {
    await fails(/ENOSPC/, join(place, "new"));
    assert.deepEqual(readdirSync(place), []);
    const target = join(dir.parent, "new");
    await fails(/ENOSPC/, target, "--wal-dir", join(place, "wal"));
    assert.deepEqual(readdirSync(place), []);
    assert.deepEqual(readdirSync(dir.parent).sort(), ["etcd", "full"]);
  } finally {
    spawnSync("umount", [place]);
    rmSync(place, { recursive: true });
  }
});

function peerUrls(urls: string): string[] {
  return ["--initial-advertise-peer-urls", urls];
}

test("ringd started on etcd's directory names the command", async () => {
  const ringd = await TestMember.make("ringd");
  try {
    ringd.launch(["--data-dir", dir.path]);
    assert.equal(await ringd.untilExit(), 1);
    assert.match(ringd.log, /ringctl import --etcd-data-dir .*\/etcd --data-dir NEW/);
  } finally {
    await ringd.destroy();
  }
});
