import assert from "node:assert/strict";
import { test } from "node:test";
import {
  encodeFrameHead,
  FRAME_HEAD_BYTES,
  FRAME_PAYLOAD_BYTES_MAX,
  FrameBatch,
  FrameError,
  FrameKind,
  FrameReader,
} from "#ringd/peer/frame.js";
import { crc32c } from "#ringd/storage/crc32c.js";
import { Prng } from "../support/prng.js";

function randomBytes(prng: Prng, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let i = 0; i < length; i++) bytes[i] = prng.below(256);
  return bytes;
}

function frameOf(payload: Buffer): Buffer {
  const batch = new FrameBatch();
  batch.add(FrameKind.message, payload, 0, payload.length);
  return Buffer.concat(batch.take());
}

/** Gives a changed header a valid checksum. */
function resealHead(frame: Buffer): Buffer {
  frame.writeUInt32LE(crc32c(frame.subarray(0, 16), 0), 16);
  return frame;
}

test("frames are read whole and in order, however they are fragmented", () => {
  for (let seed = 1; seed <= 30; seed++) {
    const prng = new Prng(seed);
    const payloads = Array.from({ length: 40 }, () =>
      randomBytes(prng, prng.oneIn(8) ? prng.below(30_000) : prng.below(80)),
    );
    const batch = new FrameBatch();
    let expectedBytes = 0;
    for (const payload of payloads) {
      const room = Buffer.concat([Buffer.alloc(3), payload, Buffer.alloc(5)]);
      batch.add(FrameKind.message, room, 3, payload.length);
      expectedBytes += FRAME_HEAD_BYTES + payload.length;
      assert.equal(batch.bytes, expectedBytes);
    }
    const stream = Buffer.concat(batch.take());
    assert.equal(stream.length, expectedBytes);
    assert.equal(batch.bytes, 0);

    const got: Buffer[] = [];
    const reader = new FrameReader((_kind, payload) => got.push(Buffer.from(payload)));
    const pieceMax = prng.pick([1, 7, 100, 5000, 100_000]);
    for (let at = 0; at < stream.length; ) {
      const end = at + 1 + prng.below(pieceMax);
      reader.push(stream.subarray(at, end));
      at = end;
    }
    assert.deepEqual(got, payloads, `seed ${seed}`);
  }
});

test("a batch's memory is not changed by later batches", () => {
  const batch = new FrameBatch();
  batch.add(FrameKind.message, Buffer.from("first"), 0, 5);
  const first = batch.take();
  const before = Buffer.concat(first);
  batch.add(FrameKind.message, Buffer.from("other"), 0, 5);
  batch.take();
  assert.deepEqual(Buffer.concat(first), before);
});

test("a change of any bit of a frame is detected", () => {
  const prng = new Prng(5);
  const frame = frameOf(randomBytes(prng, 100));
  for (let bit = 0; bit < frame.length * 8; bit++) {
    const damaged = Buffer.from(frame);
    damaged.writeUInt8(damaged.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
    let seen = 0;
    const reader = new FrameReader(() => seen++);
    assert.throws(() => reader.push(damaged), FrameError, `bit ${bit}`);
    assert.equal(seen, 0);
  }
});

test("a length above the limit and an unknown kind are rejected by the header alone", () => {
  const long = frameOf(Buffer.from("x"));
  long.writeUInt32LE(FRAME_PAYLOAD_BYTES_MAX + 1, 4);
  const head = resealHead(long).subarray(0, FRAME_HEAD_BYTES);
  assert.throws(() => new FrameReader(() => undefined).push(head), /length 268435457 is above/);

  const strange = frameOf(Buffer.from("x"));
  strange.writeUInt32LE(77, 8);
  const reader = new FrameReader(() => undefined);
  assert.throws(() => reader.push(resealHead(strange)), /unknown kind 77/);
});

test("a frame that only declares a long payload takes no memory", () => {
  const head = Buffer.alloc(FRAME_HEAD_BYTES);
  encodeFrameHead(head, 0, FrameKind.message, Buffer.alloc(0));
  head.writeUInt32LE(FRAME_PAYLOAD_BYTES_MAX, 4);
  resealHead(head);
  const before = process.memoryUsage().arrayBuffers;
  const readers = Array.from({ length: 20 }, () => new FrameReader(() => undefined));
  for (const reader of readers) reader.push(head);
  for (const reader of readers) reader.push(Buffer.from("a few bytes"));
  const grown = process.memoryUsage().arrayBuffers - before;
  assert.ok(grown < 64 * 1024 * 1024, `${grown} bytes`);
});

test("garbage is rejected", () => {
  for (let seed = 1; seed <= 500; seed++) {
    const reader = new FrameReader(() => assert.fail(`seed ${seed} passed for a frame`));
    const garbage = randomBytes(new Prng(seed), FRAME_HEAD_BYTES + 40);
    assert.throws(() => reader.push(garbage), FrameError);
  }
});
