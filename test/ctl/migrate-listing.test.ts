import assert from "node:assert/strict";
import { test } from "node:test";
import type { Node } from "#ringd/client/responses.js";
import {
  clockAheadMs,
  differenceOf,
  type Item,
  isShown,
  itemsBelow,
} from "#ringd/ctl/migrate/listing.js";

const NOW_MS = Date.parse("2026-01-01T00:00:00Z");
const remaining = (expirationMs: number) => expirationMs - NOW_MS;
const both = { source: remaining, target: remaining };

function items(...list: readonly [key: string, value?: string, seconds?: number][]) {
  return new Map(
    list.map(([key, value, seconds = 0]): [string, Item] => [
      key,
      {
        ...{ key, value: value ?? "", isDirectory: value === undefined },
        expirationMs: seconds === 0 ? 0 : NOW_MS + 1000 * seconds,
      },
    ]),
  );
}

function difference(source: Map<string, Item>, target: Map<string, Item>) {
  const { put, remove } = differenceOf(source, target, both);
  return { put: put.map(({ key }) => key), remove };
}

test("values, kinds and TTLs that differ are written, the rest is removed", () => {
  const source = items(["/d"], ["/d/a", "1"], ["/d/b", "2"], ["/k", "x"], ["/ttl", "t", 60]);
  assert.deepEqual(difference(source, source), { put: [], remove: [] });
  const target = items(["/d"], ["/d/a", "1"], ["/d/b", "3"], ["/k"], ["/k/x", "1"], ["/ttl", "t"]);
  assert.deepEqual(difference(source, target), { put: ["/d/b", "/k", "/ttl"], remove: ["/k/x"] });
  const extra = items(["/e"], ["/e/f"], ["/e/f/g", "1"], ["/eh", "1"]);
  assert.deepEqual(difference(items(), extra), { put: [], remove: ["/e", "/eh"] });
});

test("TTLs are equal within their precision; what is about to expire may be missing", () => {
  const at = (seconds: number) => items(["/t", "v", seconds]);
  assert.deepEqual(difference(at(60), at(61)), { put: [], remove: [] });
  assert.deepEqual(difference(at(60), at(64)), { put: ["/t"], remove: [] });
  assert.deepEqual(difference(at(1), items()), { put: [], remove: [] });
  assert.deepEqual(difference(at(9), items()), { put: ["/t"], remove: [] });
  assert.deepEqual(difference(items(), at(1)), { put: [], remove: [] });
});

test("directories come before what is in them", () => {
  const file = (key: string): Node => ({ key, value: "", modifiedIndex: 1, createdIndex: 1 });
  const directory = (key: string, nodes: Node[]): Node => ({ ...file(key), dir: true, nodes });
  const root = directory("/", [file("/a"), directory("/b", [directory("/b/c", [file("/b/c/d")])])]);
  const keys = [...itemsBelow(root).keys()];
  assert.deepEqual([...keys].sort(), ["/a", "/b", "/b/c", "/b/c/d"]);
  assert.ok(keys.indexOf("/b") < keys.indexOf("/b/c"));
  assert.ok(keys.indexOf("/b/c") < keys.indexOf("/b/c/d"));
  assert.equal(itemsBelow(undefined).size, 0);
});

test("a scope shows what has no hidden name below it", () => {
  assert.ok(isShown("/a/b", "/"));
  assert.ok(!isShown("/a/_b", "/"));
  assert.ok(isShown("/a/_b", "/a/_b"));
  assert.ok(isShown("/a/_b/c", "/a/_b"));
  assert.ok(!isShown("/a/_b/_c", "/a/_b"));
  assert.ok(!isShown("/a/_bc", "/a/_b"));
});

test("a server's clock is known from its TTLs, to a fraction of a second with several", () => {
  const aheadMs = 70_000;
  const node = (seconds: number): Node => ({
    ...{ key: "/k", value: "", modifiedIndex: 1, createdIndex: 1 },
    expiration: new Date(NOW_MS + aheadMs + 1000 * seconds).toISOString(),
    ttl: Math.ceil(seconds),
  });
  const of = (...seconds: number[]) =>
    clockAheadMs({ ...node(1), nodes: seconds.map(node) }, NOW_MS) ?? Number.NaN;
  assert.ok(Math.abs(of(9) - aheadMs) <= 1000);
  assert.ok(Math.abs(of(9.1, 8.9, 7.5) - aheadMs) <= 200);
  assert.equal(clockAheadMs(undefined, NOW_MS), undefined);
});
