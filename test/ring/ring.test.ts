import assert from "node:assert/strict";
import { test } from "node:test";
import { Bell } from "#ringd/ring/bell.js";
import { Inlet, Outlet } from "#ringd/ring/fragments.js";
import { createRing, RingReader, RingWriter, ringDepthBytes } from "#ringd/ring/ring.js";
import { Prng } from "../support/prng.js";

function pair(bytes: number) {
  const memory = createRing(bytes);
  const bell = new Bell(Bell.create());
  return { memory, writer: new RingWriter(memory, bell), reader: new RingReader(memory, bell) };
}

test("records come out as they went in, across many wraps of the area", () => {
  const { writer, reader } = pair(4096);
  const prng = new Prng(3);
  const expected: string[] = [];
  const seen: string[] = [];
  for (let n = 0; n < 20_000; n++) {
    const bytes = prng.below(400);
    const at = writer.reserve(bytes);
    if (at < 0 || prng.oneIn(5)) {
      if (at >= 0) {
        writer.bytes.fill(n & 0xff, at, at + bytes);
        writer.commit(n % 200, bytes);
        expected.push(`${n % 200}:${n & 0xff}*${bytes}`);
      }
      writer.publish();
      reader.drain((type, from, length) => {
        const payload = reader.bytes.subarray(from, from + length);
        assert.ok(payload.every((byte) => byte === payload[0]));
        seen.push(`${type}:${length === 0 ? "-" : payload[0]}*${length}`);
      }, 1 + prng.below(50));
      continue;
    }
    writer.bytes.fill(n & 0xff, at, at + bytes);
    writer.commit(n % 200, bytes);
    expected.push(`${n % 200}:${bytes === 0 ? "-" : n & 0xff}*${bytes}`);
  }
  writer.publish();
  while (reader.hasWork()) {
    reader.drain((type, from, length) => {
      seen.push(`${type}:${length === 0 ? "-" : reader.bytes[from]}*${length}`);
    }, 1000);
  }
  const normal = (line: string) => line.replace(/:\d+\*0$/, ":-*0");
  assert.deepEqual(seen.map(normal), expected.map(normal));
  assert.ok(expected.length > 10_000);
});

test("nothing is visible before publish()", () => {
  const { writer, reader } = pair(4096);
  const at = writer.reserve(8);
  writer.bytes.fill(1, at, at + 8);
  writer.commit(1, 8);
  assert.equal(reader.hasWork(), false);
  writer.publish();
  assert.equal(reader.hasWork(), true);
});

test("a full ring refuses a record and takes it once the consumer has released one", () => {
  const { memory, writer, reader } = pair(4096);
  let written = 0;
  while (writer.reserve(504) >= 0) {
    writer.commit(1, 504);
    written++;
  }
  writer.publish();
  assert.equal(written, 8);
  assert.equal(ringDepthBytes(memory), 4096);
  assert.equal(writer.reserve(504), -1);
  assert.equal(
    reader.drain(() => undefined, 1),
    1,
  );
  assert.notEqual(writer.reserve(504), -1);
});

test("positions may pass 2^32", () => {
  const { memory } = pair(4096);
  const control = new Int32Array(memory);
  control[0] = -4096; // Both ends near the end of the u32 range, as after 4 GiB of traffic.
  control[16] = -4096;
  const bell = new Bell(Bell.create());
  const writer = new RingWriter(memory, bell);
  const reader = new RingReader(memory, bell);
  let seen = 0;
  for (let n = 0; n < 40; n++) {
    const at = writer.reserve(400);
    writer.bytes[at] = n;
    writer.commit(2, 400);
    writer.publish();
    reader.drain((_type, from) => {
      assert.equal(reader.bytes[from], n);
      seen++;
    }, 10);
  }
  assert.equal(seen, 40);
});

test("messages of any size keep their order through a ring much smaller than they are", () => {
  const { writer, reader } = pair(4096);
  const prng = new Prng(11);
  const outlet = new Outlet(writer);
  const seen: { type: number; bytes: number; sum: number }[] = [];
  const inlet = new Inlet(reader, (type, bytes, _view, at, length) => {
    let sum = 0;
    for (const byte of bytes.subarray(at, at + length)) sum += byte;
    seen.push({ type, bytes: length, sum });
  });
  const expected: typeof seen = [];
  for (let n = 0; n < 500; n++) {
    const bytes = prng.oneIn(10) ? prng.below(50_000) : prng.below(300);
    outlet.open(bytes + prng.below(20));
    outlet.bytes.fill(n & 0xff, outlet.at, outlet.at + bytes);
    outlet.close(n % 256, bytes);
    expected.push({ type: n % 256, bytes, sum: bytes * (n & 0xff) });
    if (prng.oneIn(3)) outlet.publish();
    if (prng.oneIn(3)) inlet.drain(prng.below(5));
  }
  for (let n = 0; n < 100_000 && seen.length < expected.length; n++) {
    outlet.publish();
    inlet.drain(100);
  }
  assert.deepEqual(seen, expected);
  assert.equal(outlet.queuedBytes, 0);
});

test("a consumer that makes room rings the bell of a producer that waits for it", () => {
  const memory = createRing(4096);
  const producerBellMemory = Bell.create();
  const writer = new RingWriter(memory, new Bell(Bell.create()));
  const reader = new RingReader(memory, new Bell(producerBellMemory));
  const outlet = new Outlet(writer);
  outlet.open(10_000);
  outlet.close(1, 10_000);
  outlet.publish();
  assert.ok(outlet.queuedBytes > 0);
  const cell = new Int32Array(producerBellMemory);
  cell[0] = 1; // The producer sleeps.
  reader.drain(() => undefined, 1);
  assert.equal(cell[0], 0);
});

test("room that was too little does not use up the wish for more", () => {
  const memory = createRing(4096);
  const bellMemory = Bell.create();
  const writer = new RingWriter(memory, new Bell(Bell.create()));
  const reader = new RingReader(memory, new Bell(bellMemory));
  for (let at = writer.reserve(8); at >= 0; at = writer.reserve(8)) writer.commit(1, 8);
  const outlet = new Outlet(writer);
  outlet.open(500);
  outlet.close(2, 500);
  outlet.publish();
  reader.drain(() => undefined, 1); // Rings while the owner is awake.
  assert.equal(outlet.canMove(), false);
  const cell = new Int32Array(bellMemory);
  cell[0] = 1; // The owner parks.
  reader.drain(() => undefined, 100);
  assert.equal(cell[0], 0, "and is woken by the next release");
  assert.equal(outlet.canMove(), true);
});
