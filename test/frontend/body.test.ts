import assert from "node:assert/strict";
import { test } from "node:test";
import { Body } from "#ringd/frontend/body.js";
import { BODIES_BYTES_MAX, BODY_BYTES_MAX, BodyRoom } from "#ringd/frontend/body-room.js";
import { Prng } from "../support/prng.js";
import { SEED } from "../support/seed.js";

test(`a body is its parts in order, of whatever length, SEED=${SEED}`, () => {
  const prng = new Prng(SEED);
  const room = new BodyRoom(100_000);
  for (let run = 0; run < 300; run++) {
    const body = new Body(room);
    const sent: Buffer[] = [];
    for (let n = prng.below(40); n > 0; n--) {
      const most = prng.pick([1, 10, 2000, 5000]);
      const part = Buffer.alloc(prng.below(most), prng.below(256));
      sent.push(Buffer.from(part));
      if (!body.add(part)) sent.pop();
    }
    const last = Buffer.alloc(prng.below(10), "z");
    assert.deepEqual(Buffer.from(body.finish(last)), Buffer.concat([...sent, last]));
    assert.ok(room.take(100_000), "all room is given back");
    room.give(100_000);
  }
});

test("a body of single bytes takes little more memory than one of large parts", () => {
  const body = new Body(new BodyRoom(BODIES_BYTES_MAX));
  const one = Buffer.from("x");
  const before = process.memoryUsage();
  for (let n = 0; n < BODY_BYTES_MAX; n++) body.add(Buffer.from(one));
  const after = process.memoryUsage();
  const grown = after.arrayBuffers + after.heapUsed - before.arrayBuffers - before.heapUsed;
  assert.ok(grown < 20 * BODY_BYTES_MAX, `${grown} bytes, garbage included`);
  assert.equal(body.finish(new Uint8Array(0)).length, BODY_BYTES_MAX);
});
