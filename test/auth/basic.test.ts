import assert from "node:assert/strict";
import { test } from "node:test";
import { getHeapSnapshot } from "node:v8";
import { readBasic } from "#ringd/auth/basic.js";

const coded = (text: string) => `Basic ${Buffer.from(text, "latin1").toString("base64")}`;

test("name and password are what stands around the first colon", () => {
  assert.deepEqual(readBasic(coded("ann:a:b")), { user: "ann", password: "a:b" });
  assert.deepEqual(readBasic(coded(":")), { user: "", password: "" });
  assert.deepEqual(readBasic(coded("\xc3\xa4:\xff")), { user: "\xc3\xa4", password: "\xff" });
  assert.deepEqual(readBasic("bAsIc Og=="), { user: "", password: "" });
  for (const header of [coded("ann"), "Basic", "Basic  Og==", "Basic Og", "Bearer Og=="]) {
    assert.equal(readBasic(header), undefined);
  }
});

test("who keeps a user's name does not keep the password", async () => {
  // Long names, as V8 copies short ones, and passwords that this file does not spell out.
  const secret = (n: number) => Buffer.from(`${"s3cr3t".repeat(4)}${n}`).toString("hex");
  const names = Array.from({ length: 3 }, (_, n) => {
    return readBasic(coded(`${"a long user name ".repeat(4)}${n}:${secret(n)}`))?.user ?? "";
  });
  let heap = "";
  for await (const part of getHeapSnapshot()) heap += part;
  assert.equal(names.length, 3);
  assert.ok(heap.includes(names[0] ?? "?"));
  for (let n = 0; n < 3; n++) assert.ok(!heap.includes(secret(n)), "a password is in the heap");
});
