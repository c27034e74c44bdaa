import assert from "node:assert/strict";
import { test } from "node:test";
import { goDuration, goJsonString, goQuote, goTimestamp } from "#ringd/go/text.js";
import { Prng } from "../support/prng.js";

test("JSON strings escape what encoding/json escapes", () => {
  assert.equal(
    goJsonString('a"\\\n\r\t\b\u001f<>&\u2028\u007fé𝄞'),
    '"a\\"\\\\\\n\\r\\t\\u0008\\u001f\\u003c\\u003e\\u0026\\u2028\u007fé𝄞"',
  );
  assert.equal(goJsonString("\ud800x"), '"\ufffdx"');
});

test("%q keeps what prints", () => {
  assert.equal(
    goQuote('a "b"\\\u0001\u007f\u00a0\u0085é\n'),
    '"a \\"b\\"\\\\\\x01\\x7f\\u00a0\\u0085é\\n"',
  );
});

test("durations read as time.Duration prints them", () => {
  const cases: readonly (readonly [bigint, string])[] = [
    [0n, "0s"],
    [1n, "1ns"],
    [1_500n, "1.5µs"],
    [12_034_000n, "12.034ms"],
    [2_689_836_091n, "2.689836091s"],
    [214_890_000_000n, "3m34.89s"],
    [60_000_000_000n, "1m0s"],
    [3_600_000_000_000n, "1h0m0s"],
    [360_000_000_000_001n, "100h0m0.000000001s"],
    [-1_000_000_000n, "-1s"],
  ];
  for (const [ns, text] of cases) assert.equal(goDuration(ns), text);
});

test("time stamps agree with the calendar of the platform", () => {
  assert.equal(goTimestamp(1_795_237_679_847_612_097n), "2026-11-21T05:07:59.847612097Z");
  assert.equal(goTimestamp(0n), "1970-01-01T00:00:00Z");
  assert.equal(goTimestamp(1_500_000_000n), "1970-01-01T00:00:01.5Z");
  assert.equal(goTimestamp(-1n), "1969-12-31T23:59:59.999999999Z");
  const seed = Number(process.env.SEED ?? 11);
  const prng = new Prng(seed);
  for (let round = 0; round < 5000; round++) {
    const seconds = prng.below(2 ** 32) * 58 - 2 ** 32 * 8;
    const expected = new Date(seconds * 1000).toISOString().replace(".000Z", "Z");
    assert.equal(goTimestamp(BigInt(seconds) * 1_000_000_000n), expected, `SEED=${seed}`);
  }
});
