import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { SnapshotJob } from "#ringd/snap/job.js";
import { SnapshotReader } from "#ringd/snap/reader.js";
import { removeUnfinished, savedFiles, savedName } from "#ringd/snap/saved-files.js";

let dir = "";
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "ringd-test-"));
});
afterEach(() => rmSync(dir, { recursive: true }));

const NOON_MS = Date.UTC(2026, 10, 26, 12, 0, 0, 999);

function save(etcdIndex: number, unixMs: number, keep = 3, place = dir, makesDir = false) {
  const metadata = Buffer.from(JSON.stringify({ voters: [], etcdIndex }));
  const head = { term: 2, index: etcdIndex + 3, formatLevel: 3, metadata };
  const job = new SnapshotJob(
    place,
    keep,
    head,
    savedFiles({ dir: place, makesDir, keep }, unixMs),
  );
  job.block(Buffer.from("one block"));
  return job.finish();
}

test("a saved file has index and time in its name, and a hash", () => {
  assert.equal(save(41, NOON_MS).kind, "saved");
  assert.deepEqual(readdirSync(dir), ["41-20261126T120000Z.snap"]);
  const reader = new SnapshotReader(dir, savedName(41, NOON_MS), { isSaved: true });
  assert.equal(Buffer.from(reader.next() ?? []).toString(), "one block");
  assert.equal(reader.next(), undefined);
  assert.equal(reader.hash?.length, 32);
  assert.deepEqual([reader.term, reader.index], [2, 44]);
  reader.close();
});

test("the oldest by time go, whatever their indexes; other files stay", () => {
  for (const name of ["notes.txt", "0000-0001.snap", "1-20200101T000000Z.snap.gz"]) {
    writeFileSync(join(dir, name), "");
  }
  const others = readdirSync(dir).sort();
  // The cluster goes on from an older snapshot: indexes begin again.
  for (const [i, index] of [500, 600, 70, 80, 90].entries()) save(index, NOON_MS + i * 60_000, 3);
  const left = readdirSync(dir).filter((name) => !others.includes(name));
  assert.deepEqual(left.map((name) => name.split("-")[0]).sort(), ["70", "80", "90"]);
  assert.ok(others.every((name) => readdirSync(dir).includes(name)));
  for (let i = 0; i < 6; i++) save(i, NOON_MS + 600_000 + i * 1000, 0);
  assert.equal(readdirSync(dir).length, others.length + 3 + 6, "0 keeps all");
});

test("files of a time to come, when the clock was ahead, go before the one saved now", () => {
  const YEAR_MS = 365 * 24 * 3600 * 1000;
  for (let i = 0; i < 3; i++) save(10 + i, NOON_MS + YEAR_MS + i * 1000, 3);
  for (let i = 0; i < 2; i++) save(20 + i, NOON_MS + i * 1000, 3);
  const indexes = () =>
    readdirSync(dir)
      .map((name) => name.split("-")[0])
      .sort();
  assert.deepEqual(indexes(), ["12", "20", "21"]);
  save(22, NOON_MS + 2000, 3);
  assert.deepEqual(indexes(), ["20", "21", "22"]);
});

test("a named directory that is missing is an error; ringd's own is made, for its owner only", () => {
  const missing = join(dir, "mount");
  const outcome = save(1, NOON_MS, 3, missing);
  assert.ok(outcome.kind === "failed" && /ENOENT on create of .*\/mount\//.test(outcome.why));
  assert.deepEqual(readdirSync(dir), []);
  assert.equal(save(1, NOON_MS, 3, missing, true).kind, "saved");
  assert.equal(statSync(missing).mode & 0o777, 0o700);
});

test("only unfinished files of its own are removed at a start", () => {
  mkdirSync(join(dir, "x.snap.tmp"));
  const kept = ["1-20261126T120000Z.snap", "a.snap.tmp", "touched.snap.tmp"];
  for (const name of [...kept, "1-20261126T120001Z.snap.tmp"]) writeFileSync(join(dir, name), "");
  removeUnfinished(dir);
  assert.deepEqual(readdirSync(dir).sort(), [...kept, "x.snap.tmp"].sort());
});
