import assert from "node:assert/strict";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { SnapshotWriter } from "#ringd/snap/writer.js";
import { crc32c } from "#ringd/storage/crc32c.js";
import { FileDisk } from "#ringd/storage/disk.js";
import { DataDirAccessError, ForeignDataDirError } from "#ringd/storage/errors.js";
import {
  dataDirKind,
  hasBegun,
  identityLeft,
  openDataDir,
  openToOthers,
} from "#ringd/wal/data-dir.js";
import { writeIdentity } from "#ringd/wal/identity.js";
import { hasLog } from "#ringd/wal/open-log.js";
import { WRITER } from "#ringd/wal/segment.js";
import { Wal } from "#ringd/wal/wal.js";

function tempDir(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), "ringd-data-"));
  t.after(() => rmSync(dir, { recursive: true }));
  return join(dir, "data");
}

test("a new directory gets member/wal and member/snap, for its owner only", (t) => {
  const dir = tempDir(t);
  assert.equal(dataDirKind(dir), "empty");
  const { walDir, snapDir } = openDataDir(dir);
  assert.equal(walDir, join(dir, "member", "wal"));
  assert.equal(snapDir, join(dir, "member", "snap"));
  for (const path of [dir, walDir, snapDir]) assert.equal(statSync(path).mode & 0o777, 0o700);
  assert.deepEqual(openDataDir(dir), { dir, walDir, snapDir });
  assert.equal(dataDirKind(dir), "member");
});

test("directories that others may enter are warned of in etcd's words", (t) => {
  const dir = tempDir(t);
  const inside = openDataDir(dir);
  assert.deepEqual(openToOthers(inside), []);
  chmodSync(inside.walDir, 0o777); // Unreachable, as the data directory is private.
  assert.deepEqual(openToOthers(inside), []);
  chmodSync(dir, 0o750);
  assert.deepEqual(openToOthers(inside), [
    `check file permission: directory "${dir}" exist, but the permission is "drwxr-x---". The recommended ` +
      'permission is "-rwx------" to prevent possible unprivileged access to the data.',
  ]);
  chmodSync(dir, 0o700);
  const walDir = join(dir, "..", "log");
  const apart = openDataDir(dir, walDir);
  chmodSync(walDir, 0o711);
  assert.match(openToOthers(apart).join(), /directory "\S+\/log" .* "drwx--x--x"/);
});

test("the log may be elsewhere", (t) => {
  const dir = tempDir(t);
  const walDir = join(dir, "..", "log", "here");
  assert.equal(openDataDir(dir, walDir).walDir, walDir);
  assert(existsSync(walDir) && !existsSync(join(dir, "member", "wal")));
});

test("the log of another member is rejected beside snapshots, and left unchanged", (t) => {
  const dir = tempDir(t);
  const walDir = join(dir, "..", "log");
  const { snapDir } = openDataDir(dir, walDir);
  const disk = new FileDisk(walDir);
  Wal.open({ disk, metadataIfNew: { memberId: 0xan, clusterId: 2n } }).wal.close();
  writeIdentity(dir, { memberId: 0xbn, clusterId: 2n });
  openDataDir(dir, walDir); // Accepted without a snapshot.
  new SnapshotWriter(snapDir, { term: 1, index: 9, metadata: Buffer.alloc(1) }).finish();
  assert.throws(
    () => openDataDir(dir, walDir),
    /snapshots are of member b, and the log in \S+ is of member a\./,
  );
  writeIdentity(dir, { memberId: 0xan, clusterId: 2n });
  openDataDir(dir, walDir);
});

test("a directory of etcd is rejected and left unchanged", (t) => {
  const dir = tempDir(t);
  const walDir = join(dir, "member", "wal");
  mkdirSync(walDir, { recursive: true });
  // The beginning of a log that etcd 3.4 wrote.
  const start = Buffer.from("0400000000000084080410000000000014000000000000848", "hex");
  writeFileSync(join(walDir, `${"0".repeat(16)}-${"0".repeat(16)}.wal`), start);
  assert.throws(() => openDataDir(dir), ForeignDataDirError);
  assert.throws(
    () => openDataDir(dir),
    /written by etcd.*ringctl import --etcd-data-dir .* --data-dir NEW/,
  );
  assert.deepEqual(readdirSync(join(dir, "member")), ["wal"]);
});

test("a directory of etcd 3 is known by its database too", (t) => {
  const dir = tempDir(t);
  mkdirSync(join(dir, "member", "snap"), { recursive: true });
  writeFileSync(join(dir, "member", "snap", "db"), "");
  assert.throws(
    () => openDataDir(dir),
    /written by etcd.*ringctl import --etcd-data-dir .* --data-dir NEW/,
  );
  assert(!existsSync(join(dir, "member", "wal")));
});

test("a newer format is rejected and left unchanged", (t) => {
  const dir = tempDir(t);
  const { walDir } = openDataDir(dir);
  const disk = new FileDisk(walDir);
  assert.equal(hasLog(disk), false);
  const { wal } = Wal.open({ disk, metadataIfNew: { memberId: 1n, clusterId: 2n } });
  wal.close();
  assert.equal(hasLog(disk), true);
  const [file] = wal.segments;
  const bytes = disk.read(file as string);
  bytes[8] = 9;
  new DataView(bytes.buffer, bytes.byteOffset).setUint32(
    508,
    crc32c(bytes.subarray(0, 508), 0),
    true,
  );
  writeFileSync(join(walDir, file as string), bytes);
  const why =
    /0001\.wal was written by a newer ringd \(segment format 9\); this build reads up to 2; ringd (\S+) reads it$/;
  assert.throws(() => openDataDir(dir), why);
  assert.deepEqual(disk.read(file as string), bytes);
});

test("a log names the version of ringd that reads it", () => {
  const path = new URL("../../../package.json", import.meta.url);
  assert.equal(JSON.parse(readFileSync(path, "utf8")).version, WRITER);
});

test("a member has started once its log holds a record", (t) => {
  const dir = tempDir(t);
  const elsewhere = join(dir, "..", "log");
  for (const chosen of [undefined, elsewhere]) {
    assert.equal(hasBegun(dir, chosen), false, "nothing is there");
    const { walDir } = openDataDir(dir, chosen);
    const disk = new FileDisk(walDir);
    const { wal } = Wal.open({ disk, metadataIfNew: { memberId: 1n, clusterId: 2n } });
    assert.equal(hasBegun(dir, chosen), false, "the start was cut short");
    assert.deepEqual(identityLeft(dir, chosen), { memberId: 1n, clusterId: 2n });
    wal.setHardState({ term: 1, vote: 1n, commit: 0 });
    wal.sync();
    assert.equal(hasBegun(dir, chosen), true);
    assert.equal(identityLeft(dir, chosen), undefined);
    wal.close();
  }
  writeFileSync(join(dir, "file"), "");
  assert.throws(() => hasBegun(dir, join(dir, "file")), DataDirAccessError);
});

test("a member whose first record is torn has not started; with a damaged one it has", (t) => {
  const dir = tempDir(t);
  const { walDir } = openDataDir(dir);
  const disk = new FileDisk(walDir);
  const { wal } = Wal.open({ disk, metadataIfNew: { memberId: 1n, clusterId: 2n } });
  const data = new Uint8Array(1500).fill(7);
  wal.append({ entries: [{ index: 1, term: 1, type: 0, data }] });
  wal.sync();
  wal.close();
  const [name = ""] = readdirSync(walDir);
  const path = join(walDir, name);
  const whole = readFileSync(path);
  assert.equal(hasBegun(dir), true);
  writeFileSync(path, Buffer.from(whole).fill(0, 1024, 1536)); // One sector never reached the disk.
  assert.equal(hasBegun(dir), false);
  assert.deepEqual(identityLeft(dir), { memberId: 1n, clusterId: 2n });
  writeFileSync(path, whole.subarray(0, 1024)); // Nor did any later one.
  assert.equal(hasBegun(dir), false);
  for (const at of [512, 700]) {
    const damaged = Buffer.from(whole);
    damaged.writeUInt8(damaged.readUInt8(at) ^ 1, at);
    writeFileSync(path, damaged);
    assert.equal(hasBegun(dir), true, "recovery refuses it");
  }
});

test("a directory of both a member and a proxy is rejected, as is a proxy's for a member", (t) => {
  const dir = tempDir(t);
  mkdirSync(join(dir, "proxy"), { recursive: true });
  assert.equal(dataDirKind(dir), "proxy");
  assert.throws(() => openDataDir(dir), ForeignDataDirError);
  mkdirSync(join(dir, "member"));
  assert.throws(() => dataDirKind(dir), /both member\/ and proxy\//);
});

test("a path that is not a directory is one clear error", (t) => {
  const dir = tempDir(t);
  writeFileSync(dir, "a file");
  assert.throws(() => openDataDir(dir), DataDirAccessError);
});
