import assert from "node:assert/strict";
import { test } from "node:test";
import { Bell } from "#ringd/ring/bell.js";
import { Inlet, Outlet } from "#ringd/ring/fragments.js";
import { POISON_BYTE } from "#ringd/ring/layout.js";
import {
  createRing,
  poisonConsumed,
  RingReader,
  RingWriter,
  ringDepthBytes,
} from "#ringd/ring/ring.js";
import { Prng } from "../support/prng.js";

function pair(bytes: number) {
  const memory = createRing(bytes);
  const bell = new Bell(Bell.create());
  return { memory, writer: new RingWriter(memory, bell), reader: new RingReader(memory, bell) };
}

test("records are read as written, across many wraps of the area", () => {
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

test("a message without payload that waits for room has no bytes, and still waits", () => {
  const { writer, reader } = pair(4096);
  const outlet = new Outlet(writer);
  let sent = 0;
  for (; outlet.isEmpty; sent++) {
    outlet.open(0);
    outlet.close(2, 0);
  }
  outlet.publish();
  assert.deepEqual([outlet.queuedBytes, outlet.isEmpty], [0, false]);
  const inlet = Inlet.withCursor(reader, () => undefined);
  let taken = inlet.drain(sent);
  assert.equal(taken, sent - 1);
  outlet.publish();
  taken += inlet.drain(sent);
  assert.deepEqual([outlet.isEmpty, taken], [true, sent]);
});

test("a callback may end its batch: later records stay", () => {
  const { writer, reader } = pair(4096);
  for (let type = 1; type <= 5; type++) {
    writer.reserve(8);
    writer.commit(type, 8);
  }
  writer.publish();
  const seen: number[] = [];
  const drain = (lastType: number) =>
    reader.drain((type) => {
      seen.push(type);
      if (type === lastType) reader.endBatch();
    }, 10);
  assert.equal(drain(2), 2);
  assert.ok(reader.hasWork());
  assert.equal(drain(0), 3);
  assert.deepEqual(seen, [1, 2, 3, 4, 5]);
  assert.throws(() => reader.endBatch(), /a batch is being handed out/);
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

test("a full ring rejects a record and accepts it once the consumer has released one", () => {
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

test("messages of any size keep their order through a ring much smaller than them", () => {
  const { writer, reader } = pair(4096);
  const prng = new Prng(11);
  const outlet = new Outlet(writer);
  const seen: { type: number; bytes: number; sum: number }[] = [];
  const inlet = Inlet.withCursor(reader, (record) => {
    let sum = 0;
    for (const byte of record.bytes(0)) sum += byte;
    seen.push({ type: record.type, bytes: record.length, sum });
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

test("a consumer that releases space rings the bell of a producer that waits for it", () => {
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

test("a release that is too small does not use up the request for space", () => {
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

test("an owner that waits until less is on its way is woken by each release", () => {
  const bell = new Int32Array(Bell.create());
  const memory = createRing(4096);
  const outlet = new Outlet(new RingWriter(memory, new Bell(Bell.create())));
  const other = new RingReader(memory, new Bell(bell.buffer));
  const send = () => {
    outlet.open(500);
    outlet.close(1, 500);
  };
  send();
  assert.equal(outlet.isWithin(1000), true, "what is not published counts, too");
  send();
  assert.equal(outlet.isWithin(1000), false);
  outlet.publish();
  assert.equal(outlet.isWithin(1000), false);
  bell[0] = 1; // The owner parks.
  other.drain(() => undefined, 1);
  assert.equal(bell[0], 0);
  assert.equal(outlet.isWithin(1000), true);
});

test("a record whose callback threw is consumed and released, and later ones stay", () => {
  const { memory, writer, reader } = pair(4096);
  for (let type = 1; type <= 4; type++) {
    assert.ok(writer.reserve(8) >= 0);
    writer.commit(type, 8);
  }
  writer.publish();
  const seen: number[] = [];
  const throwsAtTwo = () =>
    reader.drain((type) => {
      seen.push(type);
      if (type === 2) throw new RangeError("thrown by the callback");
    }, 10);
  assert.throws(throwsAtTwo, RangeError);
  assert.equal(ringDepthBytes(memory), 2 * 16, "1 and 2 are released");
  assert.equal(throwsAtTwo(), 2);
  assert.deepEqual(seen, [1, 2, 3, 4], "none is seen twice");
  assert.equal(ringDepthBytes(memory), 0);
});

test("a producer that waits for space is woken although the callback threw", () => {
  const memory = createRing(4096);
  const producerBell = Bell.create();
  const writer = new RingWriter(memory, new Bell(Bell.create()));
  const reader = new RingReader(memory, new Bell(producerBell));
  while (writer.reserve(504) >= 0) writer.commit(1, 504);
  writer.publish();
  writer.wantSpace();
  const cell = new Int32Array(producerBell);
  cell[0] = 1; // The producer sleeps.
  assert.throws(() => {
    reader.drain(() => {
      throw new RangeError("thrown by the callback");
    }, 1);
  }, RangeError);
  assert.equal(cell[0], 0);
  assert.ok(writer.reserve(504) >= 0);
});

test("a message of many records whose callback threw is consumed, and the next one is whole", () => {
  const { writer, reader } = pair(4096);
  const outlet = new Outlet(writer);
  const seen: string[] = [];
  const inlet = Inlet.withCursor(reader, ({ type, length }) => {
    seen.push(`${type}:${length}`);
    if (type === 1) throw new RangeError("thrown by the callback");
  });
  for (const type of [1, 2]) {
    outlet.open(1500);
    outlet.close(type, 1500);
  }
  outlet.publish();
  assert.throws(() => inlet.drain(100), RangeError);
  inlet.drain(100);
  assert.deepEqual(seen, ["1:1500", "2:1500"]);
});

test("a callback cannot drain the ring that it is called from", () => {
  const { writer, reader } = pair(4096);
  for (const type of [1, 2]) {
    assert.ok(writer.reserve(8) >= 0);
    writer.commit(type, 8);
  }
  writer.publish();
  const drainAgain = () => reader.drain(() => undefined, 1);
  assert.throws(() => reader.drain(drainAgain, 1), { name: "AssertionError" });
  assert.equal(drainAgain(), 1);
});

/** Two commands as two records; returns what a consumer kept of the first after draining both. */
function keptThroughDrain(isPoisoned: boolean, keep: (view: Buffer) => Buffer): string {
  const memory = createRing(4096);
  if (isPoisoned) poisonConsumed(memory);
  const bell = new Bell(Bell.create());
  const outlet = new Outlet(new RingWriter(memory, bell));
  const kept: Buffer[] = [];
  const inlet = Inlet.withCursor(new RingReader(memory, bell), (record) => {
    kept.push(keep(record.bytes(0)));
  });
  for (const text of ["set a", "set b"]) {
    outlet.open(text.length);
    outlet.bytes.write(text, outlet.at);
    outlet.close(1, text.length);
  }
  outlet.publish();
  inlet.drain(10);
  return String(kept[0]);
}

test("a ring view kept past its callback is detected if the ring poisons", () => {
  const kept = keptThroughDrain(true, (view) => view);
  assert.equal(kept, String(Buffer.alloc(5, POISON_BYTE)));
  assert.equal(
    keptThroughDrain(false, (view) => view),
    "set a",
    "without poison the mistake shows only once the producer has come round",
  );
  assert.equal(
    keptThroughDrain(true, (view) => Buffer.from(view)),
    "set a",
    "a copy lives on",
  );
});

test("a ring that poisons delivers the sent bytes, also to a callback that throws", () => {
  const memory = createRing(4096);
  poisonConsumed(memory);
  const bell = new Bell(Bell.create());
  const writer = new RingWriter(memory, bell);
  const reader = new RingReader(memory, bell);
  for (let n = 0; n < 1000; n++) {
    const at = writer.reserve(100);
    writer.bytes.fill(n & 0x7f, at, at + 100);
    writer.commit(1, 100);
    writer.publish();
    let from = -1;
    const drain = () =>
      reader.drain((_type, start, length) => {
        from = start;
        const payload = reader.bytes.subarray(start, start + length);
        assert.ok(payload.every((byte) => byte === (n & 0x7f)));
        if (n % 2 === 0) throw new RangeError("thrown by the callback");
      }, 1);
    if (n % 2 === 0) assert.throws(drain, RangeError);
    else drain();
    assert.ok(reader.bytes.subarray(from, from + 100).every((byte) => byte === POISON_BYTE));
  }
});

test("the depth of a ring that moves between two loads is never more than the ring", (t) => {
  const { memory, writer, reader } = pair(4096);
  const move = () => {
    assert.ok(writer.reserve(504) >= 0);
    writer.commit(1, 504);
    writer.publish();
    reader.drain(() => undefined, 10);
  };
  const load = Atomics.load;
  let isMoving = false;
  t.mock.method(Atomics, "load", (cells: Int32Array, at: number) => {
    const value = load(cells, at);
    if (isMoving) return value;
    isMoving = true;
    for (let n = 0; n < 20; n++) move(); // Steps of the two other threads, before the next load.
    isMoving = false;
    return value;
  });
  const depthBytes = ringDepthBytes(memory);
  assert.ok(depthBytes >= 0 && depthBytes <= 4096, `${depthBytes} bytes`);
});

test("a record is committed once, and is not longer than its reservation", () => {
  const { writer } = pair(4096);
  const broken = { name: "AssertionError" };
  assert.ok(writer.reserve(8) >= 0);
  assert.throws(() => writer.commit(1, 9), broken);
  writer.commit(1, 8);
  assert.throws(() => writer.commit(1, 8), broken);
  const outlet = new Outlet(writer);
  for (const bytes of [8, 3000]) {
    outlet.open(bytes);
    assert.throws(() => outlet.close(1, bytes + 1), broken);
    outlet.close(1, bytes);
    assert.throws(() => outlet.close(1, 0), broken);
  }
});

test("a length beyond the published bytes ends the consumer", () => {
  const { memory, writer, reader } = pair(4096);
  assert.ok(writer.reserve(8) >= 0);
  writer.commit(1, 8);
  writer.publish();
  new Uint32Array(memory, 256)[0] = 16;
  assert.throws(() => reader.drain(() => assert.fail("it is not handed out"), 1), {
    message: /a record ends before TAIL/,
  });
});
