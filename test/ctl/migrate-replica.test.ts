import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { Item } from "#ringd/ctl/migrate/listing.js";
import { Replica } from "#ringd/ctl/migrate/replica.js";
import type { Side } from "#ringd/ctl/migrate/side.js";
import { readState, writeState } from "#ringd/ctl/migrate/state.js";

const itemOf = (value: string, expirationMs: number): Item => ({
  ...{ key: "/a", isDirectory: false, value, expirationMs },
});
const putOf = (item: Item) => ({ kind: "put", index: 1, item }) as const;

test("a TTL that is renewed while its key is written does not bring the old value back", async () => {
  let inSource = itemOf("old", 1000);
  let inTarget = "";
  let release: () => void = () => undefined;
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  const source = { remaining: (atMs: number) => atMs, read: async () => inSource };
  let isHeld: () => void = () => undefined;
  const begun = new Promise<void>((resolve) => {
    isHeld = resolve;
  });
  const target = {
    async put({ value, expirationMs }: Item) {
      if (expirationMs === 2000) {
        isHeld();
        await held;
      }
      inTarget = value;
    },
  };
  const replica = new Replica({
    ...{ source: source as unknown as Side, target: target as unknown as Side },
    ...{ isMerge: false, concurrency: 2, onWritten: () => undefined },
  });
  await replica.apply("/", [putOf(inSource)], ["/"]);
  inSource = itemOf("old", 2000); // As by refresh=true.
  const renewed = replica.renew(3000);
  await begun;
  inSource = itemOf("new", 9000);
  await replica.apply("/", [putOf(inSource)], ["/"]);
  release();
  await renewed;
  assert.equal(inTarget, "new");
  assert.equal(replica.deadlines.get("/a"), 9000);
});

test("the state of a migration: written as a whole; a damaged one is named", (t) => {
  const dir = mkdtempSync(join(tmpdir(), "ringd-test-"));
  t.after(() => rmSync(dir, { recursive: true }));
  const file = join(dir, "state");
  assert.equal(readState(file), undefined);
  const state = { source: "1", target: "2", indexes: { "/": 3 } };
  writeState(file, state);
  assert.deepEqual(readState(file), state);
  const noIndexes = '{"format":"ringctl migrate 1","source":"1","target":"2","indexes":null}';
  for (const text of ["", "{", "null", "[]", noIndexes]) {
    writeFileSync(file, text);
    assert.throws(() => readState(file), /state is not the state of a migration/, text);
  }
});
