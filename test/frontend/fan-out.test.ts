import assert from "node:assert/strict";
import { test } from "node:test";
import { Backlogs } from "#ringd/frontend/backlogs.js";
import { ChunkBody } from "#ringd/frontend/chunk-body.js";
import { FanOut } from "#ringd/frontend/fan-out.js";
import { ResponseType, writeChunk } from "#ringd/messages/requests.js";
import { Bell } from "#ringd/ring/bell.js";
import { Inlet, Outlet } from "#ringd/ring/fragments.js";
import { createRing, RingReader, RingWriter } from "#ringd/ring/ring.js";
import { answerHead, serve } from "./harness.js";
import { head } from "./raw.js";
import { StrictReader } from "./strict-reader.js";

const MIB = 1024 * 1024;

/** What is delivered of chunks that come in one turn. */
function deliveriesOf(chunks: readonly (readonly [number[], string, boolean?])[]): string[] {
  const memory = createRing(1024 * 1024);
  const bell = new Bell(Bell.create());
  const outlet = new Outlet(new RingWriter(memory, bell));
  const seen: string[] = [];
  const fanOut = new FanOut((ids, body, isEnd) => {
    const events = [...body.earlier, body.bytes].map((bytes) =>
      `${Buffer.from(bytes)}`.slice(0, 9),
    );
    seen.push(`${ids}: ${events.join(" ")}${isEnd ? " end" : ""}`);
  });
  const inlet = Inlet.withCursor(new RingReader(memory, bell), (record) => fanOut.add(record));
  for (const [ids, text, isEnd = false] of chunks) {
    writeChunk(outlet, ResponseType.chunk, ids, isEnd, Buffer.from(text), text.length);
  }
  outlet.publish();
  inlet.drain(Number.POSITIVE_INFINITY);
  fanOut.flush();
  fanOut.flush();
  return seen;
}

test("events of one turn for the same streams are delivered together, in order", () => {
  const both = [1, 2];
  assert.deepEqual(
    deliveriesOf([
      [both, "a"],
      [both, "b"],
      [both, "c"],
      [[1], "d"],
      [both, "e"],
      [both, "f"],
      [both, "g", true],
    ]),
    ["1,2: a b c", "1: d", "1,2: e f", "1,2: g end"],
  );
});

test("those that are delivered together fit into a cork; what does not goes alone", () => {
  const large = "x".repeat(20_000);
  const small = "y".repeat(5000);
  const [x, y] = ["xxxxxxxxx", "yyyyyyyyy"];
  assert.deepEqual(
    deliveriesOf([
      [[1], small],
      [[1], large],
      [[1], small],
      [[1], small],
      [[1], small],
    ]),
    [`1: ${y}`, `1: ${x}`, `1: ${y} ${y}`, `1: ${y}`],
  );
});

for (const kind of ["node", "uws"] as const) {
  test(`${kind}: events that leave together are a chunk each`, async () => {
    const { gateway, port, frontend } = await serve(kind);
    const reader = await StrictReader.open(port);
    reader.send(head("GET", "/v2/keys/?wait=true&stream=true"));
    const { exchange } = await gateway.next();
    exchange.open(answerHead(), Buffer.alloc(0));
    await reader.head();
    const event = (n: number) => `{"action":"set","node":{"value":"${n}","createdIndex":${n}}}\n`;
    // More than uWebSockets.js writes as they are: later ones have a blank after a colon.
    for (let n = 0; n < 300; n += 3) {
      const [first, second, third] = [n, n + 1, n + 2].map((i) => Buffer.from(event(i)));
      exchange.chunk(new ChunkBody(third as Buffer, [first as Buffer, second as Buffer]), false);
      for (const i of [n, n + 1, n + 2]) {
        const chunk = await reader.chunk();
        assert.deepEqual(JSON.parse(`${chunk}`), JSON.parse(event(i)));
      }
    }
    reader.close();
    frontend.stopListening();
    frontend.close();
  });
}

test("what lags slows its writers", () => {
  const all = new Backlogs();
  const pauseMs = (batchMs: number) => all.pauseMs(batchMs, 0);
  all.hasWriter = true;
  all.add(64 * MIB - 1);
  assert.equal(pauseMs(10), 0);
  all.add(1);
  assert.equal(pauseMs(10), 10);
  all.add(128 * MIB);
  assert.equal(pauseMs(10), 90);
  assert.equal(all.isFull, false);
  all.add(65 * MIB);
  assert.equal(all.isFull, true);
  assert.equal(pauseMs(10_000), 1000);
});

test("streams that nobody reads slow down their own events only, and by no more than asked", () => {
  const all = new Backlogs();
  const pauseMs = (batchMs: number) => all.pauseMs(batchMs, 0);
  all.hasWriter = true;
  all.add(64 * MIB);
  assert.equal(pauseMs(10), 10);
  assert.equal(pauseMs(10), 0, "no event for them since");
  all.add(-1);
  all.add(1);
  assert.equal(pauseMs(0.4), 0, "no timer is that short");
  all.add(1);
  assert.equal(Math.round(pauseMs(0.6)), 1);
});

test("without a writer at this thread nothing is paused: events would only wait elsewhere", () => {
  const all = new Backlogs();
  const pauseMs = (monoMs: number) => {
    all.add(1);
    return all.pauseMs(10, monoMs);
  };
  all.add(64 * MIB - 1);
  assert.equal(pauseMs(0), 0);
  all.hasWriter = true;
  assert.ok(pauseMs(5000) > 0);
  assert.ok(pauseMs(6000) > 0);
  assert.equal(pauseMs(6001), 0);
});
