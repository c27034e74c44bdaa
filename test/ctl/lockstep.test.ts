import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { compareScript, readScript } from "./lockstep.js";
import { AUTH, FLAGS, KEYS, MEMBERS, WATCHES } from "./scripts.js";

/** Two at a time, because a line mostly waits. */
describe("ringctl behaves like Debian's etcdctl", { concurrency: 2 }, () => {
  test("keys and directories", async () => {
    await compareScript(KEYS);
  });

  test("flags, help, timeouts, and servers that cannot be reached", async () => {
    await compareScript(FLAGS);
  });

  test("watches of the past", async () => {
    await compareScript(WATCHES);
  });

  test("members and health", async () => {
    await compareScript(MEMBERS);
  });

  test("users, roles and authentication", async () => {
    await compareScript(AUTH);
  });

  test("the same of etcdctl with etcd, and of ringctl with ringd", async () => {
    await compareScript(AUTH, ["etcd", "ringd"]);
  });
});

test("the scripts have at least 150 different command lines", () => {
  const lines = [KEYS, FLAGS, WATCHES, MEMBERS, AUTH].flatMap(readScript);
  const different = new Set(lines.map(({ text }) => text));
  assert.ok(different.size >= 150, `${different.size} lines`);
});
