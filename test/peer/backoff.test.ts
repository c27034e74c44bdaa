import assert from "node:assert/strict";
import { test } from "node:test";
import { Backoff } from "#ringd/peer/backoff.js";

test("waits double up to the longest, and begin anew after a success", () => {
  const backoff = new Backoff(100, 1000);
  const waits = () => Array.from({ length: 6 }, () => backoff.next());
  assert.deepEqual(waits(), [100, 200, 400, 800, 1000, 1000]);
  backoff.reset();
  assert.deepEqual(waits(), [100, 200, 400, 800, 1000, 1000]);
});

test("the longest wait is never below the first", () => {
  assert.equal(new Backoff(100, 50).next(), 100);
});
