import assert from "node:assert/strict";
import { test } from "node:test";
import { Patterns } from "#ringd/auth/patterns.js";
import { Prng } from "../support/prng.js";
import { SEED } from "../support/seed.js";

/** etcd's simpleMatch and prefixMatch (v2auth/auth.go), one pattern after the other. */
function covers(patterns: readonly string[], key: string, isRecursive: boolean): boolean {
  return patterns.some((pattern) => {
    if (pattern.endsWith("*")) return key.startsWith(pattern.slice(0, -1));
    return !isRecursive && pattern !== "" && key === pattern;
  });
}

test(`patterns cover the same keys as etcd's loop over them, SEED=${SEED}`, () => {
  const prng = new Prng(SEED);
  const text = () =>
    Array.from({ length: prng.below(5) }, () => prng.pick(["/", "a", "b", "ü", "~", " "])).join("");
  for (let round = 0; round < 2000; round++) {
    const list = Array.from({ length: prng.below(8) }, () => text() + (prng.oneIn(2) ? "*" : ""));
    const patterns = new Patterns(list);
    for (let n = 0; n < 20; n++) {
      const key = text();
      for (const isRecursive of [false, true]) {
        const expected = covers(list, key, isRecursive);
        assert.equal(patterns.cover(key, isRecursive), expected, `${JSON.stringify(list)} ${key}`);
      }
    }
  }
});

test("an empty pattern and no patterns cover nothing", () => {
  for (const list of [null, [], [""]]) {
    assert.equal(new Patterns(list).cover("", false), false);
    assert.equal(new Patterns(list).cover("/a", false), false);
  }
});
