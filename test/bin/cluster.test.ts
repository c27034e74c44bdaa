import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { freePorts } from "../support/member.js";

const CLUSTER = new URL("../../bin/cluster.js", import.meta.url).pathname;

test("mistakes on the command line: exit 2 and why; --help tells the usage", () => {
  const run = (...args: string[]) =>
    spawnSync(process.execPath, [CLUSTER, ...args], { encoding: "utf8", timeout: 20_000 });
  for (const [args, says] of [
    [["--members", "7"], /^--members is 7, and must be between 1 and 6\n\nUsage:/],
    [["--members", "x"], /^--members is x, /],
    [["--base-port", "65530"], /^--base-port is 65530, and must be between 1 and 65514\n/],
    [["--nope"], /Unknown option '--nope'/],
    [["stray"], /stray/],
  ] as const) {
    const { status, stderr } = run(...args);
    assert.equal(status, 2);
    assert.match(stderr, says);
  }
  const help = run("--help");
  assert.equal(help.status, 0);
  assert.match(help.stdout, /--members N/);
});

/** A port that was free a moment ago, as was the one behind it. */
async function freePair(): Promise<number> {
  for (;;) {
    const [port = 0] = await freePorts(1);
    const next = createServer().listen(port + 1, "127.0.0.1");
    const isFree = await once(next, "listening").then(
      () => true,
      () => false,
    );
    if (!isFree) continue;
    await once(next.close(), "close");
    return port;
  }
}

test("members run behind their names until SIGTERM; one that cannot start is told", async () => {
  const dir = mkdtempSync(join(tmpdir(), "ringd-test-"));
  const port = await freePair();
  const start = (...flags: string[]) => {
    const args = ["--members", "1", "--base-port", `${port}`, "--data-dir", dir, "--", ...flags];
    const child = spawn(process.execPath, [CLUSTER, ...args]);
    let output = "";
    child.stdout.on("data", (text) => {
      output += text;
    });
    return { child, output: () => output, ended: once(child, "close") };
  };
  try {
    const well = start();
    while (!well.output().includes("ready to serve")) await once(well.child.stdout, "data");
    well.child.kill("SIGTERM");
    assert.deepEqual(await well.ended, [0, null], well.output());
    assert.match(well.output(), /^infra1 \| ringd --name infra1 --data-dir /);
    assert.match(well.output(), /\ninfra1 \| ended with exit code 0\n$/);
    assert.ok(existsSync(join(dir, "infra1.etcd", "member")));
    const ill = start("--nope");
    assert.deepEqual(await ill.ended, [1, null]);
    assert.match(ill.output(), /\ninfra1 \| flag provided but not defined: -nope\n/);
    assert.match(ill.output(), /\ninfra1 \| ended with exit code 2\n$/);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});
