import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { compareScript, readScript } from "./lockstep.js";
import { AUTH, FLAGS, KEYS, MEMBERS, WATCHES } from "./scripts.js";

/** Two at a time, because a line mostly waits. */
describe("ringctl behaves like Debian's etcdctl", { concurrency: 2 }, () => {
  test("keys and directories", async () => {
    await compareScript("ringd", KEYS);
  });

  test("flags, help, timeouts, and servers that cannot be reached", async () => {
    await compareScript("ringd", FLAGS);
  });

  test("watches of the past", async () => {
    await compareScript("ringd", WATCHES);
  });

  test("members and health", async () => {
    await compareScript("ringd", MEMBERS);
  });

  test("users, roles and authentication, with etcd", async () => {
    await compareScript("etcd", AUTH);
  });
});

test("the scripts have at least 150 different command lines", () => {
  const lines = [KEYS, FLAGS, WATCHES, MEMBERS, AUTH].flatMap(readScript);
  const different = new Set(lines.map(({ text }) => text));
  assert.ok(different.size >= 150, `${different.size} lines`);
});
