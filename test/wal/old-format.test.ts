import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { FileDisk } from "#ringd/storage/disk.js";
import { decodeSegmentHeader } from "#ringd/wal/segment.js";
import { Wal } from "#ringd/wal/wal.js";
import { lastFile } from "../support/full-disk.js";
import { send } from "../support/http.js";
import { TestMember } from "../support/member.js";

/**
 * Data of ringd 0.1.0 (segment format 1) is read and continued. The archive holds `data`, a data
 * directory with a snapshot and a log after it, as left by kill -9; `answer.json`, the response to
 * GET of everything; `segments`, a log of five small segments: a hundred entries, term 1 + index /
 * 40, a hard state with each tenth.
 */
const ARCHIVE = new URL("../../../test/wal/testdata/written-by-0.1.0.tar.gz", import.meta.url);

function unpack(dir: string): void {
  execFileSync("tar", ["-xzf", ARCHIVE.pathname, "-C", dir]);
}

function tempDir(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), "ringd-old-"));
  t.after(() => rmSync(dir, { recursive: true }));
  unpack(dir);
  return dir;
}

const versionOf = (path: string) => {
  const scan = decodeSegmentHeader(readFileSync(path));
  assert(scan.kind === "header");
  return scan.header.version;
};

/** The remaining TTL decreases. */
function withoutTtl(node: Record<string, unknown>): unknown {
  const { ttl: _, nodes, ...rest } = node;
  if (!Array.isArray(nodes)) return rest;
  return { ...rest, nodes: nodes.map(withoutTtl) };
}

test("segments of version 1 are read, and followed by ones of version 2 after the upgrade", (t) => {
  const dir = join(tempDir(t), "segments");
  const options = {
    metadataIfNew: { memberId: 1n, clusterId: 1n },
    segmentBytes: 4096,
    zeroAheadBytes: 1024,
  };
  const check = (last: number) => {
    const disk = new FileDisk(dir);
    const { wal, recovery } = Wal.open({ disk, ...options });
    assert.deepEqual(recovery.metadata, { memberId: 7n, clusterId: 9n });
    assert.equal(recovery.hardState.vote, 7n);
    assert.equal(recovery.hardState.commit, 99);
    assert.equal(recovery.entries.length, last);
    for (const { index, term, data } of recovery.entries) {
      assert.equal(term, index > 100 ? 3 : 1 + Math.floor(index / 40));
      assert.deepEqual(new Uint8Array(data), new Uint8Array(100).fill(index));
    }
    return wal;
  };
  const append = (wal: Wal, index: number) => {
    const data = new Uint8Array(100).fill(index);
    wal.append({ entries: [{ index, term: 3, type: 0, data }] });
    wal.sync();
  };
  const first = check(100);
  assert.equal(first.format, 1);
  for (let index = 101; index <= 150; index++) append(first, index);
  assert.ok(first.segments.every((file) => versionOf(join(dir, file)) === 1));
  first.close();
  const second = check(150);
  second.setFormat(2);
  append(second, 151);
  assert.equal(versionOf(join(dir, second.file)), 2);
  second.close();
  const third = check(151);
  assert.equal(third.format, 2);
  third.close();
});

test("a member starts on data of version 1, and responds like the build that wrote it", async () => {
  const member = await TestMember.make("ringd");
  try {
    const root = join(member.dataDir, "..");
    mkdirSync(root, { recursive: true });
    unpack(root);
    const was = JSON.parse(readFileSync(join(root, "answer.json"), "utf8"));
    for (let start = 1; start <= 2; start++) {
      await member.start();
      const answer = await send(member.port, "GET", "/v2/keys/?recursive=true&sorted=true");
      assert.equal(answer.status, 200);
      const { node, action } = JSON.parse(answer.body.toString());
      assert.equal(action, "get");
      assert.deepEqual(withoutTtl(node), withoutTtl(was.body.node));
      // All members, only this one, support the newer format: the cluster has changed to it.
      const wal = join(member.dataDir, "member", "wal");
      await send(member.port, "PUT", "/v2/keys/after", "value=1");
      assert.equal(versionOf(lastFile(wal, ".wal")), 2);
      await send(member.port, "DELETE", "/v2/keys/after");
      await member.end("SIGKILL");
    }
  } finally {
    await member.destroy();
  }
});
