import assert from "node:assert/strict";
import { test } from "node:test";
import { Backoff } from "#ringd/peer/backoff.js";

test("delays double up to the longest, and start again after a success", () => {
  const backoff = new Backoff(100, 1000);
  const waits = () => Array.from({ length: 6 }, () => backoff.next());
  assert.deepEqual(waits(), [100, 200, 400, 800, 1000, 1000]);
  backoff.reset();
  assert.deepEqual(waits(), [100, 200, 400, 800, 1000, 1000]);
});

test("the longest delay is never below the first", () => {
  assert.equal(new Backoff(100, 50).next(), 100);
});
