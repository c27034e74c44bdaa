import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { ringctl } from "../ctl/run.js";
import { SmallDisk } from "../support/full-disk.js";
import { send } from "../support/http.js";
import { TestMember } from "../support/member.js";
import { until } from "../support/until.js";

/** `--snapshot-interval`, `--snapshot-keep` and `--snapshot-dir` of real members. */

const NAME = /^\d+-\d{8}T\d{6}Z\.snap$/;

async function metric(member: TestMember, series: string): Promise<number> {
  const text = (await send(member.port, "GET", "/metrics")).body.toString();
  const line = text.split("\n").find((one) => one.startsWith(`${series} `));
  return Number(line?.split(" ")[1] ?? 0);
}

const SAVED = 'ringd_saved_snapshots_total{result="saved"}';
const FAILED = 'ringd_saved_snapshots_total{result="failed"}';

test("a member saves files at intervals, keeps so many, and each restores", async () => {
  const member = await TestMember.make("ringd", [
    "--snapshot-interval",
    "1s",
    "--snapshot-keep",
    "2",
  ]);
  const dir = join(member.dataDir, "snapshots");
  try {
    mkdirSync(dir, { recursive: true });
    const left = join(dir, "3-20200101T000000Z.snap.tmp");
    writeFileSync(left, "of an earlier process");
    await member.start();
    assert.ok(!existsSync(left));
    for (let i = 0; i < 10; i++) {
      await send(member.port, "PUT", `/v2/keys/${i}`, `value=${"x".repeat(50_000)}`);
    }
    await until("four are saved", 30_000, async () => (await metric(member, SAVED)) >= 4);
    assert.equal(await metric(member, FAILED), 0);
    const names = readdirSync(dir).filter((name) => NAME.test(name));
    assert.ok(names.length >= 2 && names.length <= 3, `${names}`);
    const age =
      Date.now() / 1000 - (await metric(member, "ringd_last_saved_snapshot_timestamp_seconds"));
    assert.ok(age >= 0 && age < 10, `${age}`);
    await member.end("SIGTERM");
    const last = readdirSync(dir).sort().at(-1) ?? "";
    const target = join(member.dataDir, "..", "new");
    const { code, out, err } = await ringctl([
      ...["snapshot", "restore", join(dir, last), "--data-dir", target],
    ]);
    assert.equal(code, 0, err);
    assert.match(out, /\n {2}keys +10 /);
    assert.match(out, new RegExp(`etcd index +${last.split("-")[0]} `));
  } finally {
    await member.destroy();
  }
});

test("a missing directory is one warning and a metric, and the member serves", async () => {
  const root = mkdtempSync(join(tmpdir(), "ringd-test-"));
  const dir = join(root, "mount");
  const args = ["--snapshot-interval", "1s", "--snapshot-dir", dir];
  const member = await TestMember.create("ringd", args);
  try {
    await until("two have failed", 20_000, async () => (await metric(member, FAILED)) >= 2);
    assert.equal((await send(member.port, "PUT", "/v2/keys/a", "value=1")).status, 201);
    const lines = member.log.split("\n").filter((line) => line.includes("cannot save snapshot"));
    assert.equal(lines.length, 1, lines.join("\n"));
    assert.match(lines[0] ?? "", /"level":"warn".*ENOENT on create of .*\/mount\//);
    assert.ok(!existsSync(dir));
    mkdirSync(dir);
    await until("one is saved", 20_000, () => readdirSync(dir).some((name) => NAME.test(name)));
  } finally {
    await member.destroy();
    rmSync(root, { recursive: true });
  }
});

test("a full disk for them leaves nothing half, and harms nothing else", async (t) => {
  const disk = SmallDisk.mount(1);
  if (disk === undefined) {
    t.skip("no permission to mount a small disk");
    return;
  }
  const args = ["--snapshot-interval", "1s", "--snapshot-dir", disk.dir];
  const member = await TestMember.create("ringd", args);
  try {
    disk.fill();
    for (let i = 0; i < 10; i++) {
      await send(member.port, "PUT", `/v2/keys/${i}`, `value=${"x".repeat(50_000)}`);
    }
    await until("one has failed", 20_000, async () => (await metric(member, FAILED)) >= 1);
    assert.equal((await send(member.port, "PUT", "/v2/keys/a", "value=1")).status, 201);
    disk.free();
    await until("one is saved", 20_000, () =>
      readdirSync(disk.dir).some((name) => NAME.test(name)),
    );
    assert.ok(!member.log.includes('"level":"error"'));
  } finally {
    await member.destroy();
    disk.unmount();
  }
});

test("flags that make no sense end the start with one line", async () => {
  for (const [args, line] of [
    [["--snapshot-interval", "10ms"], /--snapshot-interval is 10ms, and must be 0 or at least 1s/],
    [["--snapshot-interval", "-1h"], /--snapshot-interval is -1h, and must be 0 or at least 1s/],
    [["--snapshot-interval", "1"], /invalid value "1" for flag -snapshot-interval: parse error/],
    [["--snapshot-keep", "-1"], /invalid value "-1" for flag -snapshot-keep: parse error/],
  ] as const) {
    const member = await TestMember.make("ringd", args);
    try {
      member.launch();
      assert.ok([1, 2].includes((await member.untilExit()) ?? 0));
      assert.match(member.log, line);
    } finally {
      await member.destroy();
    }
  }
});
