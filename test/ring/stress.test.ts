import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { Worker } from "node:worker_threads";
import { Bell } from "#ringd/ring/bell.js";
import { EventLoopPort } from "#ringd/ring/event-loop-port.js";
import { Inlet, Outlet } from "#ringd/ring/fragments.js";
import { createRing, RingReader, RingWriter } from "#ringd/ring/ring.js";
import { Prng } from "../support/prng.js";
import { SEED } from "../support/seed.js";

const MESSAGES = 30_000;

for (const ringBytes of [4096, 65_536]) {
  test(`two threads echo ${MESSAGES} messages through rings of ${ringBytes} bytes, SEED=${SEED}`, async () => {
    const prng = new Prng(SEED);
    const there = createRing(ringBytes);
    const back = createRing(ringBytes);
    const ownBell = Bell.create();
    const otherBell = Bell.create();
    const worker = new Worker(new URL("./stress-worker.js", import.meta.url), {
      workerData: { there, back, ownBell: otherBell, otherBell: ownBell, seed: SEED },
    });
    const exited = once(worker, "exit");
    const workerBell = new Bell(otherBell);
    const outlet = new Outlet(new RingWriter(there, workerBell));
    const expected: number[] = [];
    let sent = 0;
    let received = 0;
    let onLast: () => void = () => undefined;
    const last = new Promise<void>((resolve) => {
      onLast = resolve;
    });
    const inlet = Inlet.withCursor(new RingReader(back, workerBell), (record) => {
      const { type, length } = record;
      const want = expected[received] as number;
      assert.equal(length, want);
      assert.equal(type, received === MESSAGES - 1 ? 255 : received % 200);
      if (length >= 8) assert.equal(record.f64(0), received);
      if (length > 8) assert.equal(record.u8(length - 1), received & 0xff);
      if (++received === MESSAGES) onLast();
    });
    const mayGoOn = () => sent < MESSAGES && outlet.queuedBytes < 100_000;
    const send = () => {
      while (mayGoOn() && !prng.oneIn(50)) {
        const length = prng.oneIn(100) ? prng.below(20_000) : prng.below(600);
        expected.push(length);
        outlet.open(length);
        outlet.bytes.fill(sent & 0xff, outlet.at, outlet.at + length);
        if (length >= 8) outlet.view.setFloat64(outlet.at, sent, true);
        if (length > 8) outlet.bytes[outlet.at + length - 1] = sent & 0xff;
        outlet.close(sent === MESSAGES - 1 ? 255 : sent % 200, length);
        sent++;
        port.sent();
      }
      return mayGoOn();
    };
    const port = new EventLoopPort({
      outlet,
      inlet,
      bell: new Bell(ownBell),
      later: setImmediate,
      onTurn: send,
      figures: {
        woken: () => undefined,
        ringFull: () => undefined,
      },
    });
    port.start();
    await exited;
    await last;
    port.close();
  });
}
