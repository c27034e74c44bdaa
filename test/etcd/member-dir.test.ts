import assert from "node:assert/strict";
import {
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { EtcdDirError, EtcdFileError } from "#ringd/etcd/errors.js";
import { EtcdLogReader } from "#ringd/etcd/log.js";
import { type EtcdContent, readEtcdMember } from "#ringd/etcd/member-dir.js";
import { KEYS_PREFIX } from "#ringd/store/node.js";
import { bytes, uint, writeEtcd2, writeRecords } from "./etcd2-log.js";
import { FixtureDir, readFixture } from "./fixture.js";

/** Directories of etcd, read offline: a kept one of 3.4.23, damaged ones, and one as of etcd 2. */

const fixture = readFixture();

function read(dir: FixtureDir, walDir?: string): EtcdContent {
  return readEtcdMember(dir.path, walDir, 0);
}

function withDir(act: (dir: FixtureDir) => void): void {
  const dir = new FixtureDir(fixture);
  try {
    act(dir);
  } finally {
    dir.remove();
  }
}

interface Listed {
  readonly key?: string;
  readonly value?: string;
  readonly dir?: boolean;
  readonly nodes?: readonly Listed[];
  readonly createdIndex?: number;
  readonly modifiedIndex?: number;
}

/** `key value created modified` of all nodes below. */
function flat({ nodes = [] }: Listed): string[] {
  return nodes.flatMap((node) => {
    const { key, dir, value = "", createdIndex, modifiedIndex } = node;
    return [
      `${key} ${dir ? "directory" : JSON.stringify(value)} ${createdIndex} ${modifiedIndex}`,
      ...flat(node),
    ];
  });
}

function keysOf(
  { store }: EtcdContent,
  below: string,
  isShown: (key: string) => boolean,
): string[] {
  const found: string[] = [];
  const prefix = `${KEYS_PREFIX}${below}`;
  const cursor = store.view().cursor(prefix);
  for (let node = cursor.next(); node?.path.startsWith(prefix); node = cursor.next()) {
    const text = (bytes: string) => Buffer.from(bytes, "latin1").toString();
    const key = text(node.path.slice(KEYS_PREFIX.length));
    const value = node.isDirectory ? "directory" : JSON.stringify(text(node.value));
    if (isShown(key)) found.push(`${key} ${value} ${node.createdIndex} ${node.modifiedIndex}`);
  }
  return found;
}

test("a directory of 3.4.23: keys, indexes and events as etcd answered", () => {
  withDir((dir) => {
    const content = read(dir);
    const { index, listings, events } = fixture.answers;
    assert.equal(content.store.index, index);
    for (const [key, listing] of Object.entries(listings)) {
      const { node } = listing as { node: Listed };
      const below = key === "/" ? "/" : `${key}/`;
      const isShown = (path: string) => !path.slice(below.length - 1).includes("/_");
      assert.deepEqual(keysOf(content, below, isShown), flat(node), key);
    }
    // All but those about members, users and roles, which have no key that clients see.
    const shown = content.store.events.filter(({ node }) => node.path.startsWith("/1"));
    const expected = (events as { node?: { modifiedIndex: number } }[]).flatMap(({ node }) =>
      node === undefined ? [] : [node.modifiedIndex],
    );
    const isExpected = new Set(expected);
    assert.ok(expected.length > 50);
    const refreshes = shown.filter((event) => !isExpected.has(event.index));
    assert.ok(refreshes.every((event) => event.isRefresh));
    assert.equal(shown.length - refreshes.length, expected.length);
    assert.equal(content.store.get("/2/users/alice")?.isDirectory, false);
    assert.equal(content.uncommitted, 0);
    assert.equal(content.torn, undefined);
  });
});

/** @param at offset of a record's frame @returns offset of the next one */
function nextFrame(bytes: Buffer, at: number): number {
  const length = bytes.readUInt32LE(at);
  return at + 8 + length + (bytes.readUInt8(at + 7) & 7);
}

test("one flipped bit anywhere in the log is refused, with file and offset", () => {
  withDir((dir) => {
    const whole = readFileSync(dir.log);
    const starts: number[] = [];
    for (let at = 0; at < whole.length; at = nextFrame(whole, at)) starts.push(at);
    // All of it but the last record, which may pass for a torn one.
    const last = starts.at(-1) as number;
    for (let at = 0; at < last; at += 37) {
      const bytes = Buffer.from(whole);
      bytes[at] = (bytes[at] as number) ^ 0x10;
      writeFileSync(dir.log, bytes);
      let found: unknown;
      try {
        read(dir);
      } catch (error) {
        found = error;
      }
      const start = starts.findLast((each) => each <= at) as number;
      const end = nextFrame(whole, start);
      const isPadding = at >= start + 8 + whole.readUInt32LE(start) && at < end;
      if (isPadding) continue; // Not covered by the checksum, as in etcd.
      // A flag of the length: the padding's size, or whether there is any, may not matter.
      if (at % 8 === 7 && at - start === 7 && found === undefined) continue;
      assert.ok(found instanceof EtcdFileError, `byte ${at}: ${String(found)}`);
      assert.equal(found.file, dir.log);
      assert.ok(found.atBytes <= end, `byte ${at}: reported at ${found.atBytes}`);
    }
  });
});

test("a torn last record is dropped, as by etcd", () => {
  withDir((dir) => {
    const whole = readFileSync(dir.log);
    const before = read(dir).index;
    for (const cut of [1, 9, 17]) {
      truncateSync(dir.log, whole.length - cut);
      const content = read(dir);
      assert.equal(content.torn?.file, dir.log);
      assert.ok(content.index >= before - 1);
    }
  });
});

test("a log that was cut off before a snapshot is refused: keys would be missing", () => {
  withDir((dir) => {
    truncateSync(dir.log, 3000);
    assert.throws(() => read(dir), {
      name: "EtcdDirError",
      message:
        /snap: [0-9a-f-]+\.snap is of entry \d+, and the log ends with entry \d+, so entries/,
    });
    rmSync(dir.snapshot);
    assert.ok(read(dir).index > 0, "without that file, what is left is read");
  });
});

test("a snapshot that is truncated or has one flipped bit is refused", () => {
  withDir((dir) => {
    const whole = readFileSync(dir.snapshot);
    for (const at of [0, 3, 20, 1000, whole.length - 1]) {
      const bytes = Buffer.from(whole);
      bytes[at] = (bytes[at] as number) ^ 0x10;
      writeFileSync(dir.snapshot, bytes);
      assert.throws(() => read(dir), { name: "EtcdFileError", file: dir.snapshot });
    }
    for (const length of [0, 1, 100, whole.length - 1]) {
      writeFileSync(dir.snapshot, whole.subarray(0, length));
      assert.throws(() => read(dir), {
        ...{ name: "EtcdFileError", file: dir.snapshot, atBytes: length },
        message: /: the file is (truncated|empty)$/,
      });
    }
  });
});

test("a missing segment, a missing snapshot, a missing log, ringd's log", () => {
  withDir((dir) => {
    const walDir = join(dir.path, "member/wal");
    const third = join(walDir, "0000000000000002-0000000000000100.wal");
    copyFileSync(dir.log, third);
    assert.throws(() => read(dir), {
      name: "EtcdDirError",
      message: /a segment is missing between/,
    });
    const second = join(walDir, "0000000000000001-0000000000000100.wal");
    copyFileSync(dir.log, second);
    truncateSync(third, 0);
    assert.throws(() => read(dir), {
      ...{ name: "EtcdFileError", file: second },
      message: /it does not continue .*, whose records end at byte \d+$/,
    });
    const missing = join(dir.parent, "missing");
    assert.throws(() => readEtcdMember(missing, undefined, 0), EtcdDirError);
    assert.throws(() => readEtcdMember(dir.parent, undefined, 0), /it has no log of etcd 2 or 3/);
    const foreign = join(dir.parent, "foreign");
    mkdirSync(foreign);
    writeFileSync(join(foreign, "0000000000000000-0000000000000001.wal"), "ringdWAL...");
    assert.throws(() => read(dir, foreign), /its log was written by ringd/);
    assert.deepEqual(readdirSync(dir.parent).sort(), ["etcd", "foreign"]);
  });
});

/** In place of the fixture's, whose snapshot goes with it. */
function otherLog(dir: FixtureDir): string {
  rmSync(dir.snapshot);
  const walDir = join(dir.parent, "wal");
  mkdirSync(walDir);
  return walDir;
}

test("a log of etcd 2: bare requests, frames without padding, in-order keys without zeros", () => {
  withDir((dir) => {
    const walDir = otherLog(dir);
    const expirationMs = Date.parse("2015-06-01T12:00:00.125Z");
    writeEtcd2(join(walDir, "0000000000000000-0000000000000000.wal"), [
      { method: "PUT", path: "/0/version", value: "2.2.0" },
      { method: "PUT", path: "/1/a/b", value: "1" },
      { method: "POST", path: "/1/queue", value: "first" },
      {
        method: "PUT",
        path: "/1/ttl",
        value: "x",
        expirationNs: BigInt(expirationMs) * 1_000_000n,
      },
      { method: "PUT", path: "/1/a/b", value: "2", prevValue: "1" },
      { method: "DELETE", path: "/1/a/b", prevValue: "1" },
      { method: "QGET", path: "/1/a" },
      { method: "SYNC", path: "/", timeNs: BigInt(expirationMs - 1) * 1_000_000n },
    ]);
    const content = readEtcdMember(join(dir.parent, "etcd"), walDir, 0);
    assert.deepEqual(
      keysOf(content, "/", () => true),
      [
        "/a directory 3 3",
        '/a/b "2" 3 6',
        "/queue directory 4 4",
        '/queue/4 "first" 4 4',
        '/ttl "x" 5 5',
      ],
    );
    assert.equal(content.store.get("/1/ttl")?.expirationMs, expirationMs);
    assert.equal(content.store.index, 6);
    assert.equal(content.syncMs, expirationMs - 1);
  });
});

test("entries that are not known to be committed count only if the member was alone", () => {
  withDir((dir) => {
    const walDir = otherLog(dir);
    const file = join(walDir, "0000000000000000-0000000000000000.wal");
    const requests = ["a", "b", "c"].map((key) => ({ method: "PUT", path: `/1/${key}` }));
    const readWith = (others: number, commit: number) => {
      writeEtcd2(file, requests, others, commit);
      const content = readEtcdMember(dir.path, walDir, 0);
      const keys = keysOf(content, "/", () => true).map((line) => line.split(" ")[0]);
      const { uncommitted, index, members } = content;
      return { keys, uncommitted, index, members };
    };
    const all = ["/a", "/b", "/c"];
    assert.deepEqual(readWith(0, 2), { keys: all, uncommitted: 0, index: 4, members: 1 });
    assert.deepEqual(readWith(2, 4), { keys: ["/a"], uncommitted: 2, index: 4, members: 3 });
    assert.deepEqual(readWith(2, 6), { keys: all, uncommitted: 0, index: 6, members: 3 });
    assert.throws(() => readWith(0, 9), /the log ends with entry 4, and entry 9 was committed/);
  });
});

test("a follower that once got a snapshot from its leader lacks entries before it", () => {
  withDir((dir) => {
    const whole = read(dir);
    const reader = new EtcdLogReader();
    reader.segment(dir.log, readFileSync(dir.log), true);
    const { metadata, hardState, entries, marks } = reader.finish();
    const mark = marks.at(-1) ?? { index: 0, term: 0 };
    assert.ok(mark.index > 10, "the fixture has a snapshot");
    const kept = entries.filter(({ index }) => index <= 3 || index > mark.index);
    const record = ({ index, term, type, data }: (typeof kept)[number]) => {
      const head = [uint(1, BigInt(type)), uint(2, BigInt(term)), uint(3, BigInt(index))];
      return [2, Buffer.concat([...head, bytes(4, data)])] as const;
    };
    const { memberId, clusterId } = metadata;
    const snapshot = Buffer.concat([uint(1, BigInt(mark.index)), uint(2, BigInt(mark.term))]);
    const state = [uint(1, BigInt(hardState.term)), uint(3, BigInt(hardState.commit))];
    const write = (isMarked: boolean) =>
      writeRecords(dir.log, [
        [4, undefined],
        [1, Buffer.concat([uint(1, memberId), uint(2, clusterId)])],
        [5, Buffer.concat([uint(1, 0n), uint(2, 0n)])],
        ...kept.slice(0, 3).map(record),
        ...(isMarked ? [[5, snapshot] as const] : []),
        ...kept.slice(3).map(record),
        [3, Buffer.concat(state)],
      ]);
    write(true);
    const later = read(dir);
    assert.deepEqual([later.index, later.store.index], [whole.index, whole.store.index]);
    const all = () => true;
    assert.deepEqual(keysOf(later, "/1", all), keysOf(whole, "/1", all));
    write(false);
    assert.throws(() => read(dir), /the log begins with entry \d+, and there is no snapshot/);
  });
});
