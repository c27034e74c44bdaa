import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import * as entry from "#ringd/client/index.js";

const README = readFileSync(new URL("../../../README.md", import.meta.url), "utf8");
const SECTION = /\n## Client library\n([\s\S]*?)\n## /.exec(README)?.[1] ?? "";

test("the package's entry is the client", async () => {
  // A variable, so that the compiler does not resolve it.
  const name = "ringd/client";
  assert.equal(((await import(name)) as typeof entry).Client, entry.Client);
});

test("the README names every method and every error, on one page", () => {
  const { Client, Members, Auth, Users, Roles } = entry;
  const named = new Set(SECTION.match(/\w+/g));
  for (const Class of [Client, Members, Auth, Users, Roles]) {
    for (const method of Object.getOwnPropertyNames(Class.prototype)) {
      assert.ok(method === "constructor" || named.has(method), `${Class.name}.${method}`);
    }
  }
  const { EtcdError, ClientError, EndpointError } = entry;
  for (const [name, value] of Object.entries(entry)) {
    if (typeof value !== "function" || !(value.prototype instanceof ClientError)) continue;
    const isOfOne = value === EndpointError || value.prototype instanceof EndpointError;
    assert.ok(isOfOne || named.has(name), name);
  }
  assert.ok(EtcdError.prototype instanceof ClientError);
  assert.ok(SECTION.split("\n").length < 80, "a page");
});

test("every error class has its own code and name", () => {
  const names = Object.keys(entry).filter((name) => name.endsWith("Error"));
  assert.ok(names.length > 20);
  const body = { errorCode: 100, message: "Key not found", cause: "/a", index: 5 };
  const one = entry.EtcdError.of(body, 404, "http://a");
  const other = entry.EtcdError.of({ ...body, errorCode: 300 }, 500, "http://a");
  assert.deepEqual([one.name, one.code], ["KeyNotFoundError", "KEY_NOT_FOUND"]);
  assert.deepEqual([other.name, other.code], ["EtcdError", "ETCD_ERROR"]);
  assert.ok(!(other instanceof entry.KeyNotFoundError));
  const { cause: _, ...bare } = body;
  assert.equal(entry.EtcdError.of(bare, 404, "").message, "100: Key not found () [5]");
});
