import assert from "node:assert/strict";
import { test } from "node:test";
import { unreachable } from "#ringd/lib/assert.js";
import { Bell } from "#ringd/ring/bell.js";
import { Inlet, type OnCursor, Outlet } from "#ringd/ring/fragments.js";
import { POISON_BYTE } from "#ringd/ring/layout.js";
import type { RecordCursor } from "#ringd/ring/record-cursor.js";
import { createRing, poisonConsumed, RingReader, RingWriter } from "#ringd/ring/ring.js";

const BROKEN = { name: "AssertionError" };
const LONG_BYTES = 3000; // In a ring of 4096 bytes it takes many records.

function pair<T extends number>(onCursor: OnCursor<T>, isPoisoned = false) {
  const memory = createRing(4096);
  if (isPoisoned) poisonConsumed(memory);
  const bell = new Bell(Bell.create());
  const outlet = new Outlet(new RingWriter(memory, bell));
  return { outlet, inlet: Inlet.withCursor(new RingReader(memory, bell), onCursor) };
}

/** A message with one field of each kind, then text, then zeros up to `length`. */
function sendFields(outlet: Outlet, type: number, length: number): void {
  outlet.open(length);
  const { view, bytes, at } = outlet;
  bytes.fill(0, at, at + length);
  view.setUint8(at, 0xfe);
  view.setUint16(at + 1, 0xfedc, true);
  view.setUint32(at + 3, 0xfedcba98, true);
  view.setFloat64(at + 7, -0.5, true);
  view.setBigUint64(at + 15, 0xfedc_ba98_7654_3210n, true);
  bytes.utf8Write("grün", at + 23);
  outlet.close(type, length);
  outlet.publish();
}

function readFields(record: RecordCursor): unknown[] {
  const copy = Buffer.alloc(4);
  record.copy(copy, 1, 23, 25);
  return [
    record.u8(0),
    record.u16(1),
    record.u32(3),
    record.f64(7),
    record.u64(15),
    record.text(23, 28),
    record.utf8(23, 28),
    String(record.bytes(23, 25)),
    copy.latin1Slice(0, 4),
    record.text(28, 28),
  ];
}

const FIELDS = [
  0xfe,
  0xfedc,
  0xfedcba98,
  -0.5,
  0xfedc_ba98_7654_3210n,
  "gr\u00c3\u00bcn",
  "grün",
  "gr",
  "\0gr\0",
  "",
];

for (const length of [28, LONG_BYTES]) {
  test(`a cursor reads each kind of field, in a message of ${length} bytes`, () => {
    const seen: unknown[][] = [];
    const { outlet, inlet } = pair((record) => {
      seen.push([record.type, record.length, ...readFields(record)]);
    });
    const expected: unknown[][] = [];
    for (let n = 0; n < 20; n++) {
      sendFields(outlet, n, length);
      inlet.drain(100);
      outlet.publish();
      inlet.drain(100);
      expected.push([n, length, ...FIELDS]);
    }
    assert.deepEqual(seen, expected);
  });

  test(`no field may reach past a message of ${length} bytes, or begin before it`, () => {
    let isSeen = false;
    const { outlet, inlet } = pair((record) => {
      isSeen = true;
      const outside: ((at: number) => unknown)[] = [
        (at) => record.u8(at),
        (at) => record.u16(at - 1),
        (at) => record.u32(at - 3),
        (at) => record.f64(at - 7),
        (at) => record.u64(at - 7),
        (at) => record.text(at - 5, at + 1),
        (at) => record.utf8(at - 5, at + 1),
        (at) => record.bytes(at - 5, at + 1),
        (at) => record.copy(Buffer.alloc(10), 0, at - 5, at + 1),
      ];
      for (const read of outside) {
        read(length - 1);
        assert.throws(() => read(length), BROKEN);
        assert.throws(() => read(-1), BROKEN);
      }
      assert.throws(() => record.bytes(4, 3), BROKEN);
      assert.throws(() => record.copy(Buffer.alloc(3), 0, 0, 4), BROKEN);
      assert.equal(record.bytes(length - 2).length, 2, "without an end it is the message's");
    });
    sendFields(outlet, 1, length);
    inlet.drain(100);
    assert.ok(isSeen);
  });

  test(`a cursor kept past its callback reads nothing of ${length} bytes`, () => {
    let kept: RecordCursor | undefined;
    const { outlet, inlet } = pair((record) => {
      kept = record;
      if (record.type === 2) throw new RangeError("thrown by the callback");
    });
    const checkEnded = () => {
      assert.throws(() => kept?.type, BROKEN);
      assert.throws(() => kept?.length, BROKEN);
      assert.throws(() => kept?.u8(0), BROKEN);
      assert.throws(() => kept?.text(0), BROKEN);
      assert.throws(() => kept?.bytes(0, 0), BROKEN);
    };
    sendFields(outlet, 1, length);
    inlet.drain(100);
    checkEnded();
    sendFields(outlet, 2, length);
    assert.throws(() => inlet.drain(100), RangeError);
    checkEnded();
  });
}

test("bytes kept past their callback are poisoned, copies are not", () => {
  const kept: Buffer[] = [];
  const texts: string[] = [];
  const { outlet, inlet } = pair((record) => {
    kept.push(record.bytes(23, 28));
    texts.push(record.utf8(23, 28));
  }, true);
  sendFields(outlet, 1, 28);
  sendFields(outlet, 1, 28);
  inlet.drain(100);
  assert.ok(kept.every((bytes) => bytes.equals(Buffer.alloc(5, POISON_BYTE))));
  assert.deepEqual(texts, ["grün", "grün"]);
});

test("the types of a ring are a union, and an unknown type ends the thread", () => {
  const Kind = { put: 1, get: 2 } as const;
  type Kind = (typeof Kind)[keyof typeof Kind];
  const seen: string[] = [];
  const { outlet, inlet } = pair<Kind>((record) => {
    const { type } = record;
    switch (type) {
      case Kind.put:
        return void seen.push("put");
      case Kind.get:
        return void seen.push("get");
      default:
        return unreachable(type);
    }
  });
  for (const type of [1, 2, 3]) sendFields(outlet, type, 28);
  assert.throws(() => inlet.drain(100), BROKEN);
  assert.deepEqual(seen, ["put", "get"]);
});

test("reading through a cursor allocates nothing for each message", () => {
  let sum = 0;
  const { outlet, inlet } = pair((record) => {
    sum =
      (sum + record.type + record.length + record.u8(0) + record.u16(1) + record.u32(23)) & 0xffff;
  });
  const messages = 80;
  const drained = () => {
    for (let n = 0; n < messages; n++) {
      outlet.open(28);
      outlet.close(1, 28);
    }
    outlet.publish();
    const before = process.memoryUsage().heapUsed;
    inlet.drain(messages);
    return process.memoryUsage().heapUsed - before;
  };
  const heapBytes = Array.from({ length: 3000 }, drained).slice(1000);
  const median = heapBytes.sort((a, b) => a - b)[1000] as number;
  assert.ok(sum >= 0);
  assert.ok(median < messages * 8, `${median} bytes of heap for ${messages} messages`);
});
