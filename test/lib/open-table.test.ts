import assert from "node:assert/strict";
import { test } from "node:test";
import { OpenTable } from "#ringd/lib/open-table.js";
import { Prng } from "../support/prng.js";
import { SEED } from "../support/seed.js";

test("an open table matches a Map, under ascending numbers", () => {
  const prng = new Prng(SEED);
  const table = new OpenTable<string>();
  const model = new Map<number, string>();
  let last = 0;
  for (let step = 0; step < 20_000; step++) {
    // At times many are open at once, some for long.
    const open = step % 5000 < 2500 ? 40 : 400;
    if (model.size < open || prng.oneIn(3)) {
      const number = table.add(`v${step}`);
      assert.ok(number > last, `SEED=${SEED}: ${number} after ${last}`);
      last = number;
      model.set(number, `v${step}`);
    } else {
      const number = prng.oneIn(10)
        ? prng.below(last + 2)
        : prng.pick([...model.keys()].slice(-30));
      assert.equal(table.get(number), model.get(number), `SEED=${SEED}`);
      assert.equal(table.take(number), model.get(number), `SEED=${SEED}`);
      assert.equal(table.take(number), undefined, `SEED=${SEED}`);
      model.delete(number);
    }
    assert.equal(table.size, model.size, `SEED=${SEED}`);
  }
  const byNumber = ([a]: [number, string], [b]: [number, string]) => a - b;
  assert.deepEqual(table.entries().sort(byNumber), [...model].sort(byNumber), `SEED=${SEED}`);
});

test("a number whose value was removed never finds another one", () => {
  const table = new OpenTable<string>();
  const gone = table.add("first");
  table.take(gone);
  for (let i = 0; i < 1000; i++) {
    const number = table.add(`next ${i}`);
    assert.equal(table.get(gone), undefined);
    table.take(number);
  }
});
