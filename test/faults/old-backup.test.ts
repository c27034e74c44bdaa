import assert from "node:assert/strict";
import { cpSync, rmSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { FileDisk } from "#ringd/storage/disk.js";
import { LogReplay } from "#ringd/wal/recover.js";
import { type ClusterMember, TestCluster } from "../support/cluster.js";

/** A member of three is started on an old copy of its data: real processes. */

const END_MS = 30_000;

async function put(member: ClusterMember, key: string): Promise<void> {
  const answer = await member.ask("PUT", `/v2/keys/${key}?value=${key}`, { timeoutMs: 10_000 });
  assert.equal(answer?.status, 201, answer?.body);
}

/**
 * Whether an entry of the log contains that key. Reads the log as a start does: records may be
 * masked (wal/record.ts), so a search for bytes in the file is not enough.
 */
function holds(dataDir: string, key: string): boolean {
  const disk = new FileDisk(join(dataDir, "member", "wal"));
  const replay = new LogReplay(disk.dir, 1);
  const files = disk.list().sort();
  for (const [i, file] of files.entries()) {
    replay.segment(file, disk.read(file), i === files.length - 1);
  }
  const path = `/1/${key}`;
  return replay.finish(0).entries.some(({ data }) => Buffer.from(data).includes(path));
}

const ATTEMPTS = 3;

test("a member on an old backup stops and says what to do; added again it has everything", async () => {
  // Only a leader that has its acknowledgement can know what it lost: after an election nobody does.
  for (let attempt = 1; !(await isFoundOut(attempt === ATTEMPTS)); attempt++);
});

/** @returns false if another leader was elected meanwhile, and hid the loss */
async function isFoundOut(isLast: boolean): Promise<boolean> {
  const cluster = await TestCluster.create({ kind: "ringd", size: 3 });
  try {
    const leader = await cluster.leader();
    const victim = cluster.members.find((member) => member !== leader) as ClusterMember;
    await victim.id(); // Cached for when it no longer runs.
    await put(leader, "before");
    await victim.end("SIGTERM");
    const backup = join(cluster.folder, "backup");
    cpSync(victim.dataDir, backup, { recursive: true });
    victim.start();
    await cluster.untilHealthy();
    // Once the leader has sent it this commit index, it knows that the member has the entry.
    await put(leader, "after");
    const seen = await victim.ask("GET", "/v2/keys/after?quorum=true", { timeoutMs: 10_000 });
    assert.equal(seen?.status, 200);
    // It may have applied the entry before it was durable; but a stop writes all appends.
    await victim.end("SIGTERM");
    assert.ok(!holds(backup, "after"), "the backup is older");
    assert.ok(holds(victim.dataDir, "after"), "the log keeps what was applied");
    rmSync(victim.dataDir, { recursive: true });
    cpSync(backup, victim.dataDir, { recursive: true });
    const since = (await leader.view())?.leaderSince;
    victim.start();
    try {
      await victim.untilExit(END_MS);
    } catch (error) {
      const { isLeader, leaderSince } = (await leader.view()) ?? {};
      if (isLast || (isLeader && leaderSince === since)) throw error;
      return false;
    }
    const [crash = ""] = victim.crashes.splice(0);
    assert.match(crash, /ended by itself with 1/);
    const lost = /has its acknowledgement up to index \d+, but its log ends at \d+/;
    assert.match(crash, lost);
    assert.match(crash, /Remove this member from the cluster and add it again with an empty data/);
    assert.ok(holds(victim.dataDir, "before") && !holds(victim.dataDir, "after"));
    await put(leader, "without");
    await cluster.replace(victim);
    await cluster.untilHealthy();
    for (const key of ["before", "after", "without"]) {
      const answer = await victim.ask("GET", `/v2/keys/${key}`);
      assert.equal(answer?.status, 200, key);
    }
    return true;
  } finally {
    await cluster.destroy();
  }
}
