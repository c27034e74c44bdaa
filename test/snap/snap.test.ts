import assert from "node:assert/strict";
import fs, {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { FileSnapshots } from "#ringd/snap/files.js";
import { BLOCK_BYTES_MAX, SNAPSHOT_FORMAT, snapshotName } from "#ringd/snap/format.js";
import { SnapshotJob } from "#ringd/snap/job.js";
import { SnapshotDir } from "#ringd/snap/source.js";
import { listSnapshots, purge, SnapshotWriter } from "#ringd/snap/writer.js";
import { crc32c } from "#ringd/storage/crc32c.js";
import { CorruptSnapshotError, DiskError } from "#ringd/storage/errors.js";
import { SmallDisk } from "../support/full-disk.js";
import { Prng } from "../support/prng.js";

const METADATA = new TextEncoder().encode('{"clusterId":"7e27652122e8b2ae"}');

function tempDir(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), "ringd-snap-"));
  t.after(() => rmSync(dir, { recursive: true }));
  return dir;
}

function write(dir: string, index: number, blocks: readonly Uint8Array[], term = 1): string {
  const writer = new SnapshotWriter(dir, { term, index, metadata: METADATA });
  for (const block of blocks) writer.writeBlock(block);
  return writer.finish();
}

const snapshotsIn = (dir: string) => new SnapshotDir(new FileSnapshots(dir));
const openNewest = (dir: string) => snapshotsIn(dir).openNewest();

/** Reads all of the newest snapshot. */
function readAll(dir: string) {
  const reader = openNewest(dir);
  assert(reader !== undefined);
  try {
    const blocks: Uint8Array[] = [];
    for (let block = reader.next(); block !== undefined; block = reader.next()) {
      blocks.push(block.slice());
    }
    return { term: reader.term, index: reader.index, metadata: reader.metadata, blocks };
  } finally {
    reader.close();
  }
}

test("blocks and metadata are read back from the newest snapshot", (t) => {
  const dir = tempDir(t);
  assert.equal(openNewest(dir), undefined);
  const prng = new Prng(3);
  const blocks = [0, 1, 5000, 3_000_000].map((size) =>
    Uint8Array.from({ length: size }, () => prng.uint32()),
  );
  write(dir, 90, [new Uint8Array(9)], 3);
  const path = write(dir, 100, blocks, 2);
  assert.equal(path, join(dir, "0000000000000002-0000000000000064.snap"));
  assert.deepEqual(readAll(dir), { term: 2, index: 100, metadata: METADATA, blocks });
  assert.equal(statSync(path).mode & 0o777, 0o600);
  assert.equal(readdirSync(dir).length, 2);
});

test("a snapshot of many blocks is flushed in between and reads back", (t) => {
  const dir = tempDir(t);
  const blocks = Array.from({ length: 40 }, (_, i) => new Uint8Array(300_000).fill(i));
  write(dir, 1, blocks);
  assert.deepEqual(readAll(dir).blocks, blocks);
});

test("every flipped bit is rejected, with file and offset", (t) => {
  const dir = tempDir(t);
  const path = write(dir, 7, [new Uint8Array(40), new Uint8Array(0), new Uint8Array(30).fill(1)]);
  const bytes = readFileSync(path);
  for (let bit = 0; bit < 8 * bytes.length; bit++) {
    const at = bit >>> 3;
    const broken = Buffer.from(bytes);
    broken[at] = (broken[at] as number) ^ (1 << (bit & 7));
    writeFileSync(path, broken);
    assert.throws(
      () => readAll(dir),
      (error: Error) => {
        assert(error instanceof CorruptSnapshotError, `bit ${bit}: ${error}`);
        assert(error.file === path && error.atBytes <= at, error.message);
        return true;
      },
    );
  }
});

test("a truncated snapshot, or one with bytes after its end, is rejected", (t) => {
  const dir = tempDir(t);
  const path = write(dir, 7, [new Uint8Array(40), new Uint8Array(30).fill(1)]);
  const bytes = readFileSync(path);
  for (let length = 0; length < bytes.length; length++) {
    writeFileSync(path, bytes.subarray(0, length));
    assert.throws(() => readAll(dir), CorruptSnapshotError, `${length} bytes`);
  }
  writeFileSync(path, Buffer.concat([bytes, Buffer.alloc(1)]));
  assert.throws(() => readAll(dir), CorruptSnapshotError);
});

test("a damaged newest snapshot is rejected despite an older one, until it is moved away", (t) => {
  const dir = tempDir(t);
  write(dir, 5, [new Uint8Array(5)]);
  const path = write(dir, 7, [new Uint8Array(7)]);
  writeFileSync(path, readFileSync(path).subarray(0, 60));
  assert.throws(() => readAll(dir), CorruptSnapshotError);
  rmSync(path);
  assert.equal(readAll(dir).index, 5);
});

test("a snapshot under another's name, and one of a newer format, are rejected", (t) => {
  const dir = tempDir(t);
  const path = write(dir, 7, []);
  const bytes = readFileSync(path);
  writeFileSync(join(dir, snapshotName({ term: 1, index: 8 })), bytes);
  assert.throws(() => readAll(dir), /name and header differ/);
  rmSync(join(dir, snapshotName({ term: 1, index: 8 })));
  bytes[8] = 3;
  bytes.write("9.9.9\0", 32, "latin1");
  bytes.writeUInt32LE(crc32c(bytes.subarray(0, 44), 0), 44);
  writeFileSync(path, bytes);
  const why = {
    name: "ForeignDataDirError",
    message: /version is 3, which ringd 9\.9\.9 or later/,
  };
  assert.throws(() => readAll(dir), why);
});

test("the snapshot of a start is durable before it is read, wherever it came from", (t) => {
  const dir = tempDir(t);
  const path = write(dir, 9, []);
  const synced: string[] = [];
  const { fdatasyncSync } = fs;
  fs.fdatasyncSync = (descriptor) => {
    synced.push(readlinkSync(`/proc/self/fd/${descriptor}`));
    fdatasyncSync(descriptor);
  };
  syncBuiltinESMExports();
  t.after(() => {
    fs.fdatasyncSync = fdatasyncSync;
    syncBuiltinESMExports();
  });
  const source = openNewest(dir);
  assert.deepEqual(synced, []);
  snapshotsIn(dir).repair(source);
  source?.close();
  assert.deepEqual(synced, [path]);
});

test("an unfinished snapshot is never seen, and removed at the next start", (t) => {
  const dir = tempDir(t);
  write(dir, 5, []);
  const writer = new SnapshotWriter(dir, { term: 1, index: 9, metadata: METADATA });
  writer.writeBlock(new Uint8Array(100));
  assert.equal(readdirSync(dir).length, 2);
  assert.equal(readAll(dir).index, 5);
  assert.equal(readdirSync(dir).length, 2, "a start that is rejected changes nothing");
  snapshotsIn(dir).repair(undefined);
  assert.equal(readdirSync(dir).length, 1);
});

test("a missing directory and a newer format fail a start with a clear error, and change nothing", (t) => {
  const dir = tempDir(t);
  assert.throws(() => openNewest(join(dir, "missing")), DiskError);
  write(dir, 5, []);
  const [name = ""] = readdirSync(dir);
  const bytes = readFileSync(join(dir, name));
  bytes.writeUInt32LE(3, 8);
  bytes.writeUInt32LE(crc32c(bytes.subarray(0, 44), 0), 44);
  writeFileSync(join(dir, name), bytes);
  writeFileSync(join(dir, "half.snap.tmp"), "");
  const why = /its format version is 3, which .* reads; this ringd reads up to 2$/;
  assert.throws(() => openNewest(dir), why);
  assert.equal(readdirSync(dir).length, 2, "nothing is removed");
});

test("abort() leaves nothing behind, and does nothing to a finished snapshot", (t) => {
  const dir = tempDir(t);
  const writer = new SnapshotWriter(dir, { term: 1, index: 9, metadata: METADATA });
  writer.abort();
  writer.abort();
  assert.deepEqual(readdirSync(dir), []);
  const other = new SnapshotWriter(dir, { term: 1, index: 9, metadata: METADATA });
  other.finish();
  other.abort();
  assert.equal(readAll(dir).index, 9);
});

test("a snapshot that fails at its start or its end leaves nothing behind", (t) => {
  const dir = tempDir(t);
  const name = snapshotName({ term: 1, index: 9 });
  mkdirSync(join(dir, name));
  const writer = new SnapshotWriter(dir, { term: 1, index: 9, metadata: METADATA });
  assert.throws(() => writer.finish(), DiskError);
  writer.abort();
  assert.deepEqual(readdirSync(dir), [name]);
  const disk = SmallDisk.mount(1);
  if (disk === undefined) return t.skip("this process may not mount a file system");
  t.after(() => disk.unmount());
  disk.fill();
  const before = readdirSync(disk.dir);
  const open = readdirSync("/proc/self/fd").length;
  for (const index of [10, 20, 30]) assert.throws(() => write(disk.dir, index, []), /ENOSPC/);
  assert.deepEqual(readdirSync(disk.dir), before);
  assert.equal(readdirSync("/proc/self/fd").length, open);
});

test("a block beyond the limit is our bug, a missing directory a typed error", (t) => {
  const dir = tempDir(t);
  const writer = new SnapshotWriter(dir, { term: 1, index: 9, metadata: METADATA });
  assert.throws(() => writer.writeBlock(new Uint8Array(BLOCK_BYTES_MAX + 1)), /Broken invariant/);
  writer.abort();
  assert.throws(() => write(join(dir, "missing"), 1, []), DiskError);
});

test("purge() keeps the newest and returns the oldest of those", (t) => {
  const dir = tempDir(t);
  const never = (error: unknown) => assert.fail(`${error}`);
  assert.equal(purge(dir, 5, never), undefined);
  // Terms grow with indexes, except in a name made up here; the index decides.
  for (const index of [10, 300, 20, 4000]) write(dir, index, [], index === 20 ? 9 : 1);
  assert.deepEqual(purge(dir, 0, never), { term: 1, index: 10 });
  assert.deepEqual(purge(dir, 3, never), { term: 9, index: 20 });
  assert.deepEqual(purge(dir, 2, never), { term: 1, index: 300 });
  assert.deepEqual(
    listSnapshots(dir).map(({ index }) => index),
    [300, 4000],
  );
});

test("at any later level of the cluster, a file has the newest version there is", (t) => {
  const dir = tempDir(t);
  const head = { term: 1, index: 9, formatLevel: SNAPSHOT_FORMAT + 1, metadata: METADATA };
  const job = new SnapshotJob(dir, 1, head);
  job.block(Buffer.from("block"));
  assert.equal(job.finish().kind, "saved");
  const bytes = readFileSync(join(dir, snapshotName({ term: 1, index: 9 })));
  assert.equal(bytes.readUInt32LE(8), SNAPSHOT_FORMAT);
});

test("a snapshot succeeds though an older one cannot be removed; others are", (t) => {
  const dir = tempDir(t);
  mkdirSync(join(dir, snapshotName({ term: 1, index: 7 })));
  write(dir, 8, []);
  const job = new SnapshotJob(dir, 1, { term: 1, index: 9, formatLevel: 1, metadata: METADATA });
  job.block(Buffer.from("block"));
  const outcome = job.finish();
  assert(outcome.kind === "saved");
  assert.equal(outcome.oldestIndex, 9);
  assert.match(outcome.unremoved, /directory/);
  assert.deepEqual(
    listSnapshots(dir).map(({ index }) => index),
    [7, 9],
  );
});
