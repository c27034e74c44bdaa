import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { send } from "../support/http.js";
import { freePorts } from "../support/ports.js";

const CLUSTER = new URL("../../bin/cluster.js", import.meta.url).pathname;

test("an invalid command line exits with 2 and a reason; --help prints the usage", () => {
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

/** A base port: all ports needed by `members` were free a moment ago. */
async function freeBase(members: number): Promise<number> {
  for (;;) {
    const [base = 0] = await freePorts(1);
    let isFree = base < 65_000;
    for (let offset = 1; isFree && offset < 10 * members; offset++) {
      if (offset % 10 > 1) continue;
      const server = createServer().listen(base + offset, "127.0.0.1");
      isFree = await once(server, "listening").then(
        () => true,
        () => false,
      );
      if (isFree) await once(server.close(), "close");
    }
    if (isFree) return base;
  }
}

/** Starts members; retries if another process took a port between our check and their start. */
async function startReady(dir: string, members: number, options: readonly string[] = []) {
  for (;;) {
    const port = await freeBase(members);
    const cluster = start(port, dir, members, [], options);
    if (await cluster.ready()) return { port, cluster };
    cluster.child.kill("SIGTERM");
    await cluster.ended;
    for (const name of readdirSync(dir)) rmSync(join(dir, name), { recursive: true });
  }
}

function start(
  port: number,
  dir: string,
  members: number,
  flags: readonly string[],
  options: readonly string[] = [],
) {
  const child = spawn(process.execPath, [
    CLUSTER,
    ...["--members", `${members}`, "--base-port", `${port}`, "--data-dir", dir, ...options],
    ...["--", ...flags],
  ]);
  let output = "";
  child.stdout.on("data", (text) => {
    output += text;
  });
  const ended = once(child, "close");
  /** Resolves when all members are ready; false if one lost its port to another process. */
  const ready = async (): Promise<boolean> => {
    const isReady = (n: number) =>
      output.split("\n").some((l) => l.startsWith(`infra${n} |`) && l.includes("ready to serve"));
    while (!Array.from({ length: members }, (_, i) => i + 1).every(isReady)) {
      if (output.includes("Cannot listen on")) return false;
      assert.equal(child.exitCode, null, output);
      assert.doesNotMatch(output, /ended with exit code/);
      await Promise.race([once(child.stdout, "data"), ended]);
    }
    return true;
  };
  return { child, output: () => output, ended, ready };
}

test("members' lines have their names until SIGTERM; a member that cannot start is reported", async () => {
  const dir = mkdtempSync(join(tmpdir(), "ringd-test-"));
  try {
    const { port, cluster: well } = await startReady(dir, 1);
    well.child.kill("SIGTERM");
    assert.deepEqual(await well.ended, [0, null], well.output());
    assert.match(well.output(), /^infra1 \| ringd --name infra1 --data-dir /);
    assert.match(well.output(), /\ninfra1 \| ended with exit code 0\n$/);
    assert.ok(existsSync(join(dir, "infra1.etcd", "member")));
    const ill = start(port, dir, 1, ["--nope"]);
    assert.deepEqual(await ill.ended, [1, null]);
    assert.match(ill.output(), /\ninfra1 \| flag provided but not defined: -nope\n/);
    assert.match(ill.output(), /\ninfra1 \| ended with exit code 2\n$/);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});

for (const options of [[], ["--peer-tls"]]) {
  test(`three members are one cluster, by ${["npm run cluster", ...options].join(" ")}`, async () => {
    const dir = mkdtempSync(join(tmpdir(), "ringd-test-"));
    const { port, cluster } = await startReady(dir, 3, options);
    try {
      assert.equal(
        cluster.output().includes("serving peer requests on https:"),
        options.length > 0,
      );
      const put = await send(port, "PUT", "/v2/keys/a", "value=1");
      assert.equal(put.status, 201, put.body.toString());
      for (const other of [port + 10, port + 20]) {
        const got = await send(other, "GET", "/v2/keys/a?quorum=true");
        assert.equal(JSON.parse(got.body.toString()).node.value, "1");
        const health = await send(other, "GET", "/health");
        assert.equal(health.body.toString(), '{"health":"true"}');
      }
      cluster.child.kill("SIGTERM");
      assert.deepEqual(await cluster.ended, [0, null], cluster.output());
    } finally {
      cluster.child.kill("SIGTERM");
      await cluster.ended;
      rmSync(dir, { recursive: true, force: true });
    }
  });
}
