import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, renameSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { AuditFile } from "#ringd/log/audit-file.js";

function setUp(t: TestContext, target?: string) {
  const directory = mkdtempSync(join(tmpdir(), "ringd-audit-"));
  t.after(() => rmSync(directory, { recursive: true }));
  const path = target ?? join(directory, "audit.log");
  const failures: string[] = [];
  const calls: (() => void)[] = [];
  let reopenings = 0;
  const file = new AuditFile(path, {
    onFailure: (lines, reason) => failures.push(`${lines}: ${reason}`),
    soon: (call) => calls.push(call),
    reopenings: () => reopenings,
  });
  const batch = (...lines: string[]) => {
    for (const line of lines) file.write(line);
    assert.equal(calls.length, 1, "one call for a batch");
    calls.pop()?.();
  };
  return { path, directory, failures, batch, file, reopen: () => reopenings++ };
}

test("a batch is appended with one write, for the owner's eyes only", (t) => {
  const { path, batch, file } = setUp(t);
  batch("1", "2");
  batch("3");
  assert.equal(readFileSync(path, "utf8"), "1\n2\n3\n");
  assert.equal(statSync(path).mode & 0o777, 0o600);
  file.flush();
  assert.equal(readFileSync(path, "utf8"), "1\n2\n3\n");
});

test("after a rotation lines go to the new file, and without its directory to the old one", (t) => {
  const { path, directory, failures, batch, reopen } = setUp(t);
  batch("1");
  renameSync(path, `${path}.1`);
  batch("2");
  assert.equal(readFileSync(`${path}.1`, "utf8"), "1\n2\n");
  reopen();
  batch("3");
  assert.equal(readFileSync(path, "utf8"), "3\n");
  renameSync(directory, `${directory}-moved`);
  reopen();
  batch("4");
  renameSync(`${directory}-moved`, directory);
  assert.equal(readFileSync(path, "utf8"), "3\n4\n");
  assert.deepEqual(failures, ["0: no such file or directory"]);
});

test("lines that cannot be written are counted, and the next batch tries again", (t) => {
  const { failures, batch } = setUp(t, "/dev/full");
  batch("1", "2");
  batch("3");
  assert.deepEqual(failures, ["2: no space left on device", "1: no space left on device"]);
});
