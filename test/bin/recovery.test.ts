import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { cleanEnv, RINGCTL } from "../ctl/run.js";
import { RINGD } from "../support/cluster.js";

/** The walk-throughs of the README's "Backup and recovery", run as they stand there. */

const README = readFileSync(new URL("../../../README.md", import.meta.url), "utf8");
const [, SECTION = ""] = /\n### When disaster strikes\n([\s\S]*?)\n## /.exec(README) ?? [];
const [SETUP = "", ...WALKS] = [...SECTION.matchAll(/```\n([\s\S]*?)```/g)].map(
  ([, text = ""]) => text,
);
const TITLES = ["one member lost", "the majority lost", "all lost but a snapshot", "undone"];
const LIMIT_MS = 120_000;

async function isFree(port: number): Promise<boolean> {
  const server = createServer().listen(port, "127.0.0.1");
  try {
    await once(server, "listening");
    return true;
  } catch {
    return false;
  } finally {
    server.close();
  }
}

/** What replaces 2379 and 2380 in ports such as 12379. */
async function freeEndings(): Promise<readonly [string, string]> {
  for (;;) {
    const first = 1000 + 2 * Math.floor(Math.random() * 900);
    const endings = [`${first}`, `${first + 1}`] as const;
    const ports = endings.flatMap((ending) => [1, 2, 3].map((n) => Number(`${n}${ending}`)));
    const free = await Promise.all(ports.map(isFree));
    if (free.every((one) => one)) return endings;
  }
}

/** Runs commands in an empty directory, with `ringd` and `ringctl` in the PATH. @returns stdout */
async function bash(commands: string): Promise<string> {
  const [client, peer] = await freeEndings();
  const root = mkdtempSync(join(tmpdir(), "ringd-walk-"));
  const bin = join(root, "bin");
  const work = join(root, "work");
  mkdirSync(bin);
  mkdirSync(work);
  for (const [name, script] of [
    ["ringd", RINGD],
    ["ringctl", RINGCTL],
  ] as const) {
    writeFileSync(join(bin, name), `#!/bin/sh\nexec "${process.execPath}" "${script}" "$@"\n`);
    chmodSync(join(bin, name), 0o755);
  }
  const script = commands.replaceAll("2379", client).replaceAll("2380", peer);
  const end = "for pid in $(cat n?.pid); do kill -9 $pid 2> /dev/null; done";
  const child = spawn("bash", ["-euc", `trap '${end}' EXIT\n${script}`], {
    cwd: work,
    env: cleanEnv({ PATH: `${bin}:${process.env.PATH}` }),
    timeout: LIMIT_MS,
  });
  let out = "";
  let err = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    out += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    err += text;
  });
  const [code] = (await once(child, "close")) as [number | null];
  rmSync(root, { recursive: true });
  assert.equal(code, 0, `${out}\n${err}`);
  return out;
}

/** Each member has this value, and the cluster is whole. */
function proof(value: string): string {
  return [
    ...[1, 2, 3].map(
      (n) =>
        `[ "$(ringctl --no-sync --endpoints http://127.0.0.1:${n}2379 get /message)" = "${value}" ]`,
    ),
    "[ $(ringctl member list | wc -l) = 3 ]",
    "ringctl set /message whole",
    "echo proven",
    "",
  ].join("\n");
}

test("the README has the four walk-throughs", () => {
  assert.equal(WALKS.length, TITLES.length);
  for (const [i, title] of TITLES.entries()) {
    const before = SECTION.slice(0, SECTION.indexOf(WALKS[i] ?? "?")).toLowerCase();
    assert.ok(before.includes(title), title);
  }
});

for (const [i, value] of ["hello again", "hello again", "hello", "hello again"].entries()) {
  test(`walk-through: ${TITLES[i]}`, async () => {
    const out = await bash(`${SETUP}\n${WALKS[i]}\n${proof(value)}`);
    assert.match(out, /proven\n$/);
  });
}
