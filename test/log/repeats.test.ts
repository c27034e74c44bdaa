import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { createLogCells, createLogger } from "#ringd/log/logger.js";
import { RepeatFilter } from "#ringd/log/repeats.js";

function logged(): { filter: RepeatFilter; lines: string[]; pass(ms: number): void } {
  let nowMs = 0;
  const lines: string[] = [];
  return {
    filter: new RepeatFilter(false, () => nowMs),
    lines,
    pass: (ms) => {
      nowMs += ms;
    },
  };
}

test("the first of a kind is logged at once, the others as one line at the end of the minute", () => {
  const { filter, lines, pass } = logged();
  const warn = (fields: object, text: string) =>
    filter.log(40, [fields, text], ([shown, line]) =>
      lines.push(`${line} ${JSON.stringify(shown)}`),
    );
  for (let n = 0; n < 1235; n++) {
    warn({ reason: `port ${n}` }, `lost leader ${(2 ** 40 + n).toString(16)} at term ${n}`);
    pass(10);
  }
  assert.deepEqual(lines, ['lost leader 10000000000 at term 0 {"reason":"port 0"}']);
  warn({}, "another kind");
  warn({ reason: "not a port" }, "lost leader 10000000000 at term 0");
  assert.equal(lines.length, 3);
  pass(60_000);
  filter.sweep();
  assert.equal(lines.length, 4);
  assert.match(lines[3] ?? "", / at term 1234; and 1,234 more like it in the last minute .*1234"/);
  warn({ reason: "port 1" }, "lost leader 10000000000 at term 0");
  assert.equal(lines.length, 4, "the summary begins a minute of its own");
  pass(60_000);
  filter.sweep();
  assert.match(lines[4] ?? "", /; and 1 more like it/);
  pass(60_000);
  filter.sweep();
  assert.equal(lines.length, 5, "nothing came: nothing to say");
  warn({}, "another kind");
  assert.equal(lines.length, 6);
});

test("varying reasons get few lines, and every peer has its own", () => {
  const { filter, lines } = logged();
  const letters = (n: number) =>
    [...String(n)].map((digit) => "abcdefghij"[Number(digit)]).join("");
  for (let n = 0; n < 5000; n++) {
    filter.log(40, [{ reason: letters(n) }, "rejected peer"], () => lines.push("refused"));
    filter.log(40, [letters(n)], () => lines.push("text"));
  }
  assert.ok(lines.filter((line) => line === "refused").length <= 9);
  assert.ok(lines.length < 300, `${lines.length} lines`);
  filter.log(50, [{ peer: "a1" }, "lost stream to peer"], () => lines.push("a1"));
  filter.log(50, [{ peer: "b2" }, "lost stream to peer"], () => lines.push("b2"));
  assert.deepEqual(lines.slice(-2), ["a1", "b2"]);
});

test("a thread's logger filters warnings and errors, and the peer thread's info lines", () => {
  const dir = mkdtempSync(join(tmpdir(), "ringd-repeats-"));
  try {
    for (const [thread, news] of [
      ["core", 3],
      ["peer", 1],
    ] as const) {
      const output = join(dir, `${thread}.log`);
      const config = { level: "info", format: "json", outputs: [output] } as const;
      const log = createLogger(config, thread, createLogCells("info"));
      for (let n = 0; n < 3; n++) {
        log.warn({ backlogBytes: n }, "disconnected client that does not read its response");
        log.error(new Error("x"));
        log.fatal("a thread died");
        log.info("opened stream to peer");
      }
      const lines = readFileSync(output, "utf8");
      const count = (text: string) => lines.split(text).length - 1;
      assert.equal(count("disconnected client"), 1);
      assert.equal(count('"level":"error"'), 1);
      assert.equal(count("a thread died"), 3);
      assert.equal(count("opened stream"), news);
    }
  } finally {
    rmSync(dir, { recursive: true });
  }
});
