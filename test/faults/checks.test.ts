import assert from "node:assert/strict";
import { test } from "node:test";
import { checkAppends, checkEqual, checkOrder, checkWatches } from "./lib/checks.js";
import type { Append, Change, Indexed } from "./lib/history.js";
import type { WatchLog } from "./lib/watchers.js";

/** Each check finds the fault planted for it, and reports nothing without one. */

function write(call: number, returned: number, index: number): Indexed {
  return { call, returned, index, isWrite: true, text: `write at ${call}` };
}

function read(call: number, returned: number, index: number): Indexed {
  return { call, returned, index, isWrite: false, text: `read at ${call}` };
}

const ORDERED = [write(0, 5, 4), write(1, 4, 5), read(2, 6, 3), write(7, 9, 6), read(10, 11, 6)];

const DISORDERED: Record<string, [planted: Indexed, says: RegExp]> = {
  "an index given twice": [write(12, 13, 6), /two writes have index 6/],
  "an index that went back": [write(12, 13, 2), /index 2 of "write at 12" after .* 6/],
  "a read by quorum from the past": [read(12, 13, 5), /index 5 of "read at 12" after .* 6/],
};

test("indexes in the order of the log are fine, overlapping ones in any order", () => {
  assert.deepEqual(checkOrder(ORDERED), []);
});

for (const [name, [planted, says]] of Object.entries(DISORDERED)) {
  test(`found: ${name}`, () => {
    assert.match(checkOrder([...ORDERED, planted]).join("\n"), says);
  });
}

const APPENDS: Append[] = [
  { name: "w/log/a", value: "1", index: 4 },
  { name: "w/log/b", value: "2", index: 5 },
  { name: "w/log/c", value: "3", index: 0 },
];
const STORED: [string, { value: string; index: number }][] = [
  ["w/log/a", { value: "1", index: 4 }],
  ["w/log/b", { value: "2", index: 5 }],
];

test("acknowledged creations must exist; one of unknown outcome may", () => {
  assert.deepEqual(checkAppends(APPENDS, new Map(STORED)), []);
  const late: typeof STORED = [...STORED, ["w/log/c", { value: "3", index: 9 }]];
  assert.deepEqual(checkAppends(APPENDS, new Map(late)), []);
});

test("found: a lost write, another value, another index, a key from nowhere", () => {
  const findings = (stored: typeof STORED) => checkAppends(APPENDS, new Map(stored)).join("\n");
  const [a, b] = STORED as [(typeof STORED)[0], (typeof STORED)[0]];
  assert.match(findings([a]), /^LOST: w\/log\/b was acknowledged at index 5$/);
  assert.match(findings([a, ["w/log/b", { value: "x", index: 5 }]]), /acknowledged as 2@5, is x@5/);
  assert.match(findings([a, ["w/log/b", { value: "2", index: 6 }]]), /acknowledged as 2@5, is 2@6/);
  assert.match(findings([a, b, ["w/log/z", { value: "2", index: 6 }]]), /nobody created it/);
});

const CHANGES: Change[] = [4, 5, 7].map((index) => ({
  ...{ index, action: "set", key: "/w/a", value: `v${index}` },
}));
const UNSEEN: Change = { index: 8, action: "compareAndDelete", key: "/w/a", value: null };

function log(changes: Change[], gaps: WatchLog["gaps"] = []): WatchLog {
  return { name: `watcher ${changes.length}`, changes, gaps };
}

test("watchers that saw everything pass, also events of unacknowledged writes", () => {
  const all = [...CHANGES, UNSEEN];
  assert.deepEqual(checkWatches(CHANGES, [log(all), log(all)]), { findings: [], missed: 0 });
});

test("events that a watcher was told are lost do not count as missed", () => {
  const partly = log(CHANGES.slice(2), [{ from: 1, to: 6 }]);
  assert.deepEqual(checkWatches(CHANGES, [partly]), { findings: [], missed: 0 });
});

test("found: missed, repeated, swapped and different changes", () => {
  const [a, b, c] = CHANGES as [Change, Change, Change];
  const findings = (...logs: WatchLog[]) => checkWatches(CHANGES, logs).findings.join("\n");
  assert.match(findings(log([a, c])), /^watcher 2 MISSED set \/w\/a v5 @5, known from an ack/);
  assert.match(findings(log([a, b, c, c])), /index 7 after 7/);
  assert.match(findings(log([a, c, b])), /index 5 after 7/);
  assert.match(findings(log([a, { ...b, value: "x" }, c])), /has set \/w\/a x @5 where an ack/);
  assert.match(findings(log([a, b, c, UNSEEN]), log(CHANGES)), /watcher 3 MISSED compareAndDelete/);
});

test("etcd's known misses are only counted", () => {
  const seen = [...CHANGES, { ...UNSEEN, value: "left over" }];
  const { findings, missed } = checkWatches([...CHANGES, UNSEEN], [log(seen), log([])], true);
  assert.deepEqual({ findings, missed }, { findings: [], missed: 4 });
});

test("trees are equal or the difference is shown", () => {
  assert.deepEqual(
    checkEqual(
      new Map([
        ["n1", "7 {a}"],
        ["n2", "7 {a}"],
      ]),
    ),
    [],
  );
  const findings = checkEqual(
    new Map([
      ["n1", "7 {a}"],
      ["n2", "7 {b}"],
    ]),
  );
  assert.deepEqual(findings, ['n2 differs from n1: "7 {a}" and "7 {b}"']);
});
