import assert from "node:assert/strict";
import { test } from "node:test";
import { ClusterClock } from "#ringd/cluster/cluster-clock.js";
import { Prng } from "../support/prng.js";

const HOUR = 3_600_000;

test("a set clock follows the monotonic clock, whatever the wall clock does", () => {
  const clock = new ClusterClock(0);
  assert.equal(clock.isKnown, false);
  assert.equal(clock.read(5000, 10), 5000);
  clock.hear(1_000_000, 100);
  assert.equal(clock.isKnown, true);
  assert.equal(clock.read(0, 100), 1_000_000);
  assert.equal(clock.read(HOUR, 350.9), 1_000_250);
});

test("a clock is not started before the latest time in the log", () => {
  const clock = new ClusterClock(7 * HOUR);
  assert.equal(clock.read(6 * HOUR, 1), 7 * HOUR);
  assert.equal(clock.read(8 * HOUR, 1), 8 * HOUR);
  clock.mark(9 * HOUR);
  assert.equal(clock.floorMs, 9 * HOUR);
  assert.equal(clock.isKnown, false, "a mark may be old");
});

test("delayed times do not set a clock back, prompt ones correct it", () => {
  const clock = new ClusterClock(0);
  clock.hear(10_000, 3000); // Delayed by three seconds.
  assert.equal(clock.read(0, 3000), 10_000);
  clock.hear(15_000, 5000); // Not delayed.
  assert.equal(clock.read(0, 5000), 15_000);
  clock.hear(13_000, 6000);
  assert.ok(clock.read(0, 6000) >= 15_999);
});

test("a clock that is too fast slows down to the cluster's, and never goes back", () => {
  const prng = new Prng(7);
  const clock = new ClusterClock(0);
  const speed = 1 + 200e-6; // Drift of our clock.
  let lastMs = 0;
  let errorMs = 0;
  for (let trueMs = 0; trueMs < 24 * HOUR; trueMs += 500) {
    clock.hear(trueMs - prng.below(20), trueMs * speed);
    const readMs = clock.read(0, trueMs * speed);
    assert.ok(readMs >= lastMs);
    lastMs = readMs;
    errorMs = readMs - trueMs;
    assert.ok(Math.abs(errorMs) < 50, `${errorMs} ms off at ${trueMs}`);
  }
});

test("a clock restarted on another member replaces ours", () => {
  const clock = new ClusterClock(1000);
  clock.hear(5 * HOUR, 0);
  clock.restart(5 * HOUR + 10, 1000);
  assert.equal(clock.read(0, 2000), 5 * HOUR + 1010);
});
