import assert from "node:assert/strict";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { MemberChange } from "#ringd/cluster/member-change.js";
import { raftChangeOf } from "#ringd/cluster/raft-change.js";
import { BackupTotals } from "#ringd/ctl/commands/backup-totals.js";
import { encodeConfChange } from "#ringd/raft/conf-change.js";
import { EntryType } from "#ringd/raft/entry.js";
import { send } from "../support/http.js";
import { TestMember } from "../support/member.js";
import { until } from "../support/until.js";
import { ringctl } from "./run.js";

for (const [what, flags] of [
  ["a log alone", []],
  ["a snapshot and the log after it", ["--snapshot-count", "20"]],
] as const) {
  test(`backup says index, keys and bytes of ${what}`, async () => {
    const member = await TestMember.create("ringd", flags);
    try {
      for (let i = 0; i < 50; i++) {
        await send(member.port, "PUT", `/v2/keys/dir/${i}`, `value=${i}`);
      }
      await send(member.port, "PUT", "/v2/keys/gone", "value=1&ttl=1");
      await send(member.port, "PUT", "/v2/keys/dir/0?prevValue=other", "value=2");
      await send(member.port, "PUT", "/v2/keys/dir/0?prevValue=0", "value=2");
      await send(member.port, "POST", "/v2/keys/queue", "value=1");
      await send(member.port, "DELETE", "/v2/keys/dir/1");
      await send(member.port, "PUT", "/v2/keys/_hidden", "value=1");
      await until("a key has expired", 10_000, async () => {
        return (await send(member.port, "GET", "/v2/keys/gone")).status === 404;
      });
      const { headers } = await send(member.port, "GET", "/v2/keys/");
      await member.end("SIGTERM");
      const target = join(member.dataDir, "..", "backup");
      const { code, out, err } = await ringctl([
        ...["backup", "--data-dir", member.dataDir, "--backup-dir", target],
      ]);
      assert.equal(code, 0, err);
      const index = headers.get("x-etcd-index");
      assert.match(
        out,
        new RegExp(
          `^backed up to ${target}\n {2}etcd index +${index} \\(Raft index \\d+, term 2\\)\n {2}keys +51\n {2}bytes +\\d+\n$`,
        ),
      );
    } finally {
      await member.destroy();
    }
  });
}

test("the index counts what a lasting learner's promotion writes", () => {
  const totals = new BackupTotals();
  const changes: MemberChange[] = [
    { kind: "add", id: 5n, peerUrls: ["http://a:1"] },
    { kind: "addLearner", id: 7n, peerUrls: ["http://b:1"] },
    { kind: "update", id: 7n, peerUrls: ["http://c:1"] },
    { kind: "promote", id: 7n },
    { kind: "promote", id: 5n },
  ];
  for (const [i, change] of changes.entries()) {
    const data = encodeConfChange(raftChangeOf(change));
    totals.apply({ index: i + 1, term: 1, type: EntryType.confChange, data: Buffer.from(data) });
  }
  assert.equal(totals.etcdIndex, 4);
});

test("a backup that fails leaves nothing", async () => {
  const member = await TestMember.create("ringd", ["--snapshot-count", "20"]);
  try {
    for (let i = 0; i < 50; i++) await send(member.port, "PUT", `/v2/keys/${i}`, `value=${i}`);
    const snap = join(member.dataDir, "member", "snap");
    const files = () => readdirSync(snap).filter((name) => name.endsWith(".snap"));
    await until("there is a snapshot", 10_000, () => files().length > 0);
    await member.end("SIGTERM");
    for (const name of files()) {
      const bytes = readFileSync(join(snap, name));
      bytes.writeUInt8((bytes.at(-100) ?? 0) ^ 1, bytes.length - 100);
      writeFileSync(join(snap, name), bytes);
    }
    const root = join(member.dataDir, "..");
    const own = join(root, "own");
    mkdirSync(own);
    for (const target of [own, join(root, "new", "backup")]) {
      const { code, err } = await ringctl([
        ...["backup", "--data-dir", member.dataDir, "--backup-dir", target],
      ]);
      assert.equal(code, 1);
      assert.match(err, /\.snap/);
    }
    assert.deepEqual(readdirSync(own), [], "a directory that was there stays");
    assert.ok(!existsSync(join(root, "new")));
  } finally {
    await member.destroy();
  }
});
