import assert from "node:assert/strict";
import { test } from "node:test";
import { Prng } from "./prng.js";

test("one seed gives one sequence, another seed another", () => {
  const draw = (seed: number) => {
    const prng = new Prng(seed);
    return Array.from({ length: 8 }, () => prng.uint32());
  };
  assert.deepEqual(draw(7), draw(7));
  assert.notDeepEqual(draw(7), draw(8));
});

test("below() covers its whole range and nothing else", () => {
  const prng = new Prng(1);
  const seen = new Set(Array.from({ length: 1000 }, () => prng.below(6)));
  assert.deepEqual([...seen].sort(), [0, 1, 2, 3, 4, 5]);
});
