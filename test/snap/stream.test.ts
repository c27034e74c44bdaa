import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { BLOCK_HASH, encodeBlockHeader } from "#ringd/snap/format.js";
import { SnapshotReader } from "#ringd/snap/reader.js";
import { SnapshotCheck, SnapshotStream } from "#ringd/snap/stream.js";
import { CorruptSnapshotError } from "#ringd/storage/errors.js";

let dir = "";
before(() => {
  dir = mkdtempSync(join(tmpdir(), "ringd-test-"));
});
after(() => rmSync(dir, { recursive: true }));

const BLOCKS = [Buffer.from("first"), Buffer.alloc(700, "x"), Buffer.alloc(0), Buffer.from("last")];

/** A snapshot, taken in pieces of up to that many bytes. */
function streamed(pieceBytes: number): Buffer {
  const rest = [...BLOCKS];
  const head = { term: 3, index: 9, version: 2, metadata: Buffer.from('{"voters":[]}') };
  const stream = new SnapshotStream(head, { next: () => rest.shift() });
  const pieces: Uint8Array[] = [];
  while (!stream.isDone) {
    const piece = stream.next(pieceBytes);
    assert.ok(piece.length > 0 && piece.length <= pieceBytes);
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}

interface Read {
  readonly blocks: readonly Buffer[];
  readonly hash: Uint8Array | undefined;
}

function read(bytes: Uint8Array, skipsHash = false): Read {
  writeFileSync(join(dir, "any name"), bytes);
  const reader = new SnapshotReader(dir, "any name", { isSaved: true, skipsHash });
  try {
    const blocks: Buffer[] = [];
    for (let next = reader.next(); next !== undefined; next = reader.next()) {
      blocks.push(Buffer.from(next));
    }
    assert.deepEqual([reader.term, reader.index], [3, 9]);
    return { blocks, hash: reader.hash };
  } finally {
    reader.close();
  }
}

function checked(bytes: Uint8Array, pieceBytes: number): Buffer | undefined {
  const check = new SnapshotCheck();
  for (let at = 0; at < bytes.length; at += pieceBytes) {
    check.push(bytes.subarray(at, at + pieceBytes));
  }
  assert.equal(check.bytes, bytes.length);
  return check.finish();
}

test("pieces of any size make the same file, which ends in its hash", () => {
  const whole = streamed(1 << 20);
  for (const bytes of [1, 7, 64, 512]) assert.deepEqual(streamed(bytes), whole);
  const { blocks, hash } = read(whole);
  assert.deepEqual(blocks, BLOCKS);
  assert.equal(hash?.length, 32);
  for (const bytes of [1, 7, 47, 48, 49, 1 << 20])
    assert.ok(checked(whole, bytes)?.equals(hash as Uint8Array));
});

test("one flipped bit anywhere is refused, with the offset of its block", () => {
  const whole = streamed(1 << 20);
  for (let at = 0; at < whole.length; at++) {
    const bytes = Buffer.from(whole);
    bytes[at] = (bytes[at] as number) ^ (1 << (at % 8));
    assert.throws(
      () => read(bytes),
      (error) => {
        assert.ok(error instanceof CorruptSnapshotError, `${at}: ${error}`);
        assert.ok(error.atBytes <= at && at < error.atBytes + 16 + 700, `${at}: ${error.atBytes}`);
        return true;
      },
    );
    assert.equal(checked(bytes, 100), undefined, `${at}`);
  }
});

test("a cut file is refused, also where only its hash is missing", () => {
  const whole = streamed(1 << 20);
  const hashAt = whole.length - 48;
  for (let length = 0; length < whole.length; length++) {
    assert.equal(checked(whole.subarray(0, length), 100), undefined, `${length}`);
    if (length !== hashAt) {
      assert.throws(() => read(whole.subarray(0, length)), CorruptSnapshotError, `${length}`);
    }
  }
  assert.equal(read(whole.subarray(0, hashAt)).hash, undefined);
  assert.throws(() => read(Buffer.concat([whole, Buffer.from("x")])), /bytes after its end/);
});

test("a hash of other bytes is refused, unless it is skipped", () => {
  const whole = streamed(1 << 20);
  const hashAt = whole.length - 48;
  const wrong = Buffer.alloc(32, 7);
  const crcOfEnd = whole.readUInt32LE(hashAt - 32 + 8);
  const { bytes } = encodeBlockHeader(BLOCK_HASH, wrong, crcOfEnd);
  const forged = Buffer.concat([whole.subarray(0, hashAt), bytes, wrong]);
  assert.throws(() => read(forged), new RegExp(`byte ${hashAt} .*SHA-256 differs`));
  assert.deepEqual(read(forged, true).blocks, BLOCKS);
  assert.equal(checked(forged, 100), undefined);
});
