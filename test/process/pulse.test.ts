import assert from "node:assert/strict";
import { test } from "node:test";
import { createPulse, Pulse, PulseWatch } from "#ringd/process/pulse.js";

test("a thread is silent from its last beat on, and not before its first", () => {
  const memory = createPulse(2);
  const watch = new PulseWatch(memory, 0);
  const pulse = new Pulse(memory, 1);
  watch.look(500);
  assert.equal(watch.silentMs(1, 10_000), 0, "it has not begun");
  pulse.beat();
  watch.look(1000);
  assert.equal(watch.silentMs(1, 1000), 0);
  watch.look(1800);
  assert.equal(watch.silentMs(1, 1800), 800);
  pulse.beat();
  watch.look(2000);
  assert.equal(watch.silentMs(1, 2100), 100);
  assert.equal(watch.silentMs(0, 2100), 0);
});

test("beats are counted beyond 2^31", () => {
  const memory = createPulse(1);
  new Int32Array(memory)[0] = 2 ** 31 - 1;
  const watch = new PulseWatch(memory, 0);
  new Pulse(memory, 0).beat();
  watch.look(10);
  assert.equal(watch.silentMs(0, 30), 20);
});
