import assert from "node:assert/strict";
import { test } from "node:test";
import {
  alignRecord,
  PAYLOAD_BYTES_MAX,
  RECORD_BATCH,
  RECORD_HEADER_BYTES,
  SECTOR_BYTES,
  scanRecord,
  sealRecord,
} from "#ringd/wal/record.js";
import { Prng } from "../support/prng.js";

const FORM = { hasFlags: true, headSeed: 7 };

/** A file with one record at `at`, and room after it. */
function fileWith(payload: Uint8Array, at: number, crcBefore = 99): Uint8Array {
  const file = new Uint8Array(alignRecord(at + RECORD_HEADER_BYTES + payload.length) + 1024);
  file.set(payload, at + RECORD_HEADER_BYTES);
  sealRecord(file, at, RECORD_BATCH, payload.length, at, crcBefore, FORM, false);
  return file;
}

/** The record's bytes in each sector, except that of its header. */
function* parts(file: Uint8Array, at: number, payloadBytes: number): Generator<Uint8Array> {
  const end = at + RECORD_HEADER_BYTES + payloadBytes;
  let sector = (Math.floor(at / SECTOR_BYTES) + 1) * SECTOR_BYTES;
  for (; sector < end; sector += SECTOR_BYTES) {
    yield file.subarray(sector, Math.min(sector + SECTOR_BYTES, end));
  }
}

function bitsOf(bytes: Uint8Array): number {
  let bits = 0;
  for (let byte of bytes) for (; byte !== 0; byte &= byte - 1) bits++;
  return bits;
}

test("a record reads back, whatever its length and place", () => {
  const prng = new Prng(1);
  for (let i = 0; i < 2000; i++) {
    const payload = new Uint8Array(1 + prng.below(3000));
    if (!prng.oneIn(4)) for (let k = 0; k < payload.length; k++) payload[k] = prng.uint32();
    const at = 16 * prng.below(64);
    const scan = scanRecord(fileWith(payload, at), at, 99, FORM);
    assert(scan.kind === "record");
    assert.deepEqual(scan.payload, payload);
    assert.equal(scan.next, alignRecord(at + RECORD_HEADER_BYTES + payload.length));
  }
});

test("reading a masked record leaves the bytes of its file unchanged", () => {
  for (const file of [
    fileWith(new Uint8Array(2000), 0),
    Buffer.from(fileWith(new Uint8Array(2000), 0)),
  ]) {
    const before = Uint8Array.from(file);
    assert(before[6] !== 0, "it has a mask");
    const scan = scanRecord(file, 0, 99, FORM);
    assert(scan.kind === "record");
    assert.deepEqual(new Uint8Array(scan.payload), new Uint8Array(2000));
    assert.deepEqual(new Uint8Array(file), before);
  }
});

test("no sector of a complete record has fewer than two bits set, whatever its payload", () => {
  const prng = new Prng(2);
  for (let i = 0; i < 3000; i++) {
    const payload = new Uint8Array(1 + prng.below(4000));
    // Zeros, one bit, a word that could be a mask, ends of any length.
    const low = prng.below(256);
    const high = prng.below(256);
    if (!prng.oneIn(3)) {
      for (let k = 0; k < payload.length; k++) payload[k] = (k & 1) === 0 ? low : high;
    }
    if (prng.oneIn(2)) payload.fill(0, prng.below(payload.length));
    payload[prng.below(payload.length)] = 1 << prng.below(8);
    const at = 16 * prng.below(64);
    const file = fileWith(payload, at);
    for (const part of parts(file, at, payload.length)) assert(bitsOf(part) >= 2);
    const scan = scanRecord(file, at, 99, FORM);
    assert(scan.kind === "record");
    assert.deepEqual(scan.payload, payload);
  }
});

test("a payload of the largest size that forbids a mask in every sector still gets one, quickly", () => {
  const payload = new Uint8Array(PAYLOAD_BYTES_MAX);
  const at = 0;
  const firstWhole = SECTOR_BYTES - RECORD_HEADER_BYTES;
  // The masks in the order they are tried.
  for (let s = firstWhole, mask = 0; s < payload.length; s += SECTOR_BYTES) {
    for (let k = s; k < Math.min(s + SECTOR_BYTES, payload.length); k += 2) {
      payload[k] = mask & 0xff;
      payload[k + 1] = mask >>> 8;
    }
    mask = mask === 0 ? 0xa5c3 : (mask + 0x6b2d) & 0xffff;
  }
  // CPU time, as the machine may be busy.
  const began = process.cpuUsage();
  const file = fileWith(payload, at);
  const { user, system } = process.cpuUsage(began);
  assert(user + system < 2_000_000, "one pass, not one for each mask");
  for (const part of parts(file, at, payload.length)) assert(bitsOf(part) >= 2);
  const scan = scanRecord(file, at, 99, FORM);
  assert(scan.kind === "record");
  assert.equal(Buffer.compare(scan.payload, payload), 0);
});

test("rule 1: a blank header, or one truncated by the end of the file, is the end", () => {
  const file = fileWith(Uint8Array.of(1, 2, 3), 0);
  assert.equal(scanRecord(file, 32, 0, FORM).kind, "end");
  assert.equal(scanRecord(file.subarray(0, 15), 0, 99, FORM).kind, "end");
});

test("rule 2: a damaged header is damage", () => {
  for (let bit = 0; bit < 8 * RECORD_HEADER_BYTES; bit++) {
    const file = fileWith(new Uint8Array(700), 0);
    file[bit >>> 3] = (file[bit >>> 3] as number) ^ (1 << (bit & 7));
    assert.equal(scanRecord(file, 0, 99, FORM).kind, "damaged");
  }
});

test("rule 3: a payload with a blank sector, or past the end of the file, is torn", () => {
  const payload = new Uint8Array(1500).fill(7);
  for (const sector of [512, 1024]) {
    const file = fileWith(payload, 0);
    file.fill(0, sector, sector + SECTOR_BYTES);
    assert.equal(scanRecord(file, 0, 99, FORM).kind, "torn");
  }
  assert.equal(scanRecord(fileWith(payload, 0).subarray(0, 1000), 0, 99, FORM).kind, "torn");
});

test("rule 4: any other change of the payload is damage, also where its values are zeros", () => {
  for (const fill of [0, 7]) {
    const whole = fileWith(new Uint8Array(1500).fill(fill), 496);
    for (let at = 496 + RECORD_HEADER_BYTES; at < 496 + RECORD_HEADER_BYTES + 1500; at++) {
      const file = whole.slice();
      file[at] = (file[at] as number) ^ (1 << (at & 7));
      assert.equal(scanRecord(file, 496, 99, FORM).kind, "damaged", `byte ${at}`);
    }
  }
});

test("a record is damaged if it does not follow the one before it", () => {
  assert.equal(scanRecord(fileWith(Uint8Array.of(1), 0, 5), 0, 6, FORM).kind, "damaged");
});
