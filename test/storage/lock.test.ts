import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { Worker } from "node:worker_threads";
import { DataDirAccessError, DataDirLockedError } from "#ringd/storage/errors.js";
import { lockDir, lockLogDir } from "#ringd/storage/lock.js";

/** A program that does not exist: then the lock is a file. */
const NO_FLOCK = "no-such-program-as-flock";
const WAYS = [
  { program: "flock", kind: "flock" },
  { program: NO_FLOCK, kind: "file" },
];

function tempDir(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), "ringd-lock-"));
  t.after(() => rmSync(dir, { recursive: true }));
  return dir;
}

/** Starts a process that holds the lock. */
async function holder(
  dir: string,
  program: string,
): Promise<{ child: ChildProcess; kind: string }> {
  const script = new URL("./lock-holder.js", import.meta.url).pathname;
  const child = spawn(process.execPath, [script, dir, program], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  assert(child.stdout !== null);
  const [line] = await once(child.stdout, "data");
  return { child, kind: String(line).trim() };
}

for (const { program, kind } of WAYS) {
  test(`${kind}: a second process is rejected with the holder's id, and gets the lock once that is killed`, async (t) => {
    const dir = tempDir(t);
    const { child, kind: held } = await holder(dir, program);
    assert.equal(held, kind);
    assert.throws(
      () => lockDir(dir, program),
      (error: Error) => {
        assert(error instanceof DataDirLockedError);
        const want = `cannot lock data dir ${dir}: process ${child.pid} is using it`;
        assert.equal(error.message, want);
        return true;
      },
    );
    child.kill("SIGKILL");
    await once(child, "exit");
    const lock = lockDir(dir, program);
    assert.equal(lock.kind, kind);
    assert.throws(() => lockDir(dir, program), new RegExp(`process ${process.pid} is using it`));
    lock.release();
    lockDir(dir, program).release();
    assert.deepEqual(
      readdirSync(dir).filter((name) => name.startsWith("lock.")),
      [],
    );
  });
}

test("flock: the lock can be taken in a worker, and ends with it", async (t) => {
  const dir = tempDir(t);
  const source = `import(${JSON.stringify(import.meta.resolve("#ringd/storage/lock.js"))}).then(({ lockDir }) => {
    lockDir(${JSON.stringify(dir)});
    const { parentPort } = require("node:worker_threads");
    parentPort.postMessage("locked");
    parentPort.on("message", () => {});
  });`;
  const worker = new Worker(source, { eval: true });
  await once(worker, "message");
  assert.throws(() => lockDir(dir), DataDirLockedError);
  await worker.terminate();
  lockDir(dir).release();
});

test("a lock of one kind excludes processes that can only take the other", async (t) => {
  for (const { program } of WAYS) {
    const dir = tempDir(t);
    const { child } = await holder(dir, program);
    t.after(() => child.kill("SIGKILL"));
    const other = program === NO_FLOCK ? "flock" : NO_FLOCK;
    assert.throws(() => lockDir(dir, other), new RegExp(`process ${child.pid} is using it`));
    child.kill("SIGKILL");
    await once(child, "exit");
    lockDir(dir, other).release();
  }
});

test("flock: a program that fails to run does not lead to a weaker lock", (t) => {
  const dir = tempDir(t);
  const program = join(dir, "flock");
  writeFileSync(program, "#!/bin/sh\nkill -9 $$\n", { mode: 0o755 });
  assert.throws(() => lockDir(dir, program), DataDirAccessError);
  assert.throws(() => lockLogDir(dir, program), DataDirAccessError);
  // No descriptor is left to run the program.
  const source = `import(${JSON.stringify(import.meta.resolve("#ringd/storage/lock.js"))}).then(({ lockDir }) => {
    const { closeSync, openSync } = require("node:fs");
    const open = [];
    try { for (;;) open.push(openSync("/dev/null")); } catch {}
    closeSync(open.pop());
    try { console.log(lockDir(${JSON.stringify(dir)}).kind); } catch ({ code }) { console.log(code); }
  });`;
  const { stdout } = spawnSync("sh", [
    "-c",
    'ulimit -n 64; exec "$0" -e "$1"',
    process.execPath,
    source,
  ]);
  assert.equal(String(stdout).trim(), "DATA_DIR_ACCESS");
});

test("flock: the lock is taken on a full disk too", (t) => {
  const dir = tempDir(t);
  const source = `import(${JSON.stringify(import.meta.resolve("#ringd/storage/lock.js"))}).then(({ lockDir }) => {
    console.log(lockDir(${JSON.stringify(dir)}).kind);
  });`;
  const limited = 'ulimit -f 0; exec "$0" -e "$1" | cat'; // As on a full disk.
  const { stdout } = spawnSync("sh", ["-c", limited, process.execPath, source]);
  assert.equal(String(stdout).trim(), "flock");
});

test("file: a holder of another boot, or whose process id was reused, is stale", (t) => {
  const dir = tempDir(t);
  const path = join(dir, "lock.holder");
  const lock = lockDir(dir, NO_FLOCK);
  const self = JSON.parse(readFileSync(path, "utf8"));
  lock.release();
  for (const stale of [{ bootId: "another" }, { startTime: "1" }]) {
    writeFileSync(path, JSON.stringify({ ...self, ...stale }));
    lockDir(dir, NO_FLOCK).release();
  }
  // An invisible holder may still run.
  for (const unseen of [{ pidNamespace: "pid:[1]", pid: 2 ** 30 }]) {
    writeFileSync(path, JSON.stringify({ ...self, ...unseen }));
    assert.throws(() => lockDir(dir, NO_FLOCK), DataDirLockedError);
  }
  writeFileSync(path, "");
  assert.throws(() => lockDir(dir, NO_FLOCK), /another process is using it/);
});

test("a missing directory is one clear error", (t) => {
  const dir = join(tempDir(t), "missing");
  assert.throws(() => lockDir(dir), DataDirAccessError);
});

test("the holder of a lock detects that its file is missing or replaced", (t) => {
  for (const program of ["flock", NO_FLOCK]) {
    const dir = tempDir(t);
    const lock = lockDir(dir, program);
    const path = join(dir, lock.kind === "flock" ? "lock" : "lock.holder");
    assert.equal(lock.missing(), undefined);
    rmSync(path);
    assert.match(lock.missing() ?? "", /was removed|is gone/);
    writeFileSync(path, "");
    assert.match(lock.missing() ?? "", /was removed|no longer the same file/);
    lock.release();
  }
});

test("flock: the lock of the log's directory excludes a second member, even without lock files", (t) => {
  const dir = tempDir(t);
  const lock = lockLogDir(dir);
  assert.equal(lock.kind, "flock");
  assert.equal(lock.missing(), undefined);
  assert.throws(() => lockLogDir(dir), DataDirLockedError);
  lock.release();
  lockLogDir(dir).release();
  assert.equal(lockLogDir(dir, NO_FLOCK).kind, "none");
});
