import assert from "node:assert/strict";
import { test } from "node:test";
import { parseGoDuration } from "#ringd/go/duration.js";

test("durations as Go reads them", () => {
  const known: Readonly<Record<string, bigint | undefined>> = {
    ...{ "0": 0n, "1ns": 1n, "1.5us": 1500n, "2µs": 2000n, "2μs": 2000n, "3ms": 3_000_000n },
    ...{
      "1m30s": 90_000_000_000n,
      "-1h": -3_600_000_000_000n,
      "+.5s": 500_000_000n,
      "1.s": 10n ** 9n,
    },
    ...{ "": undefined, "5": undefined, ".s": undefined, "1 s": undefined, "1d": undefined },
    ...{ "1s5": undefined, "-": undefined, "3000000h": undefined },
  };
  for (const [text, ns] of Object.entries(known)) assert.equal(parseGoDuration(text), ns, text);
  assert.equal(parseGoDuration(`${"9".repeat(400)}h`), undefined);
});
