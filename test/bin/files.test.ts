import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { send } from "../support/http.js";
import { TestMember } from "../support/member.js";
import { until } from "../support/until.js";

const RINGD = new URL("../../bin/ringd.js", import.meta.url).pathname;
const dir = mkdtempSync(join(tmpdir(), "ringd-test-"));
after(() => rmSync(dir, { recursive: true }));

mkdirSync(join(dir, "directory"));
writeFileSync(join(dir, "file"), "");
symlinkSync(join(dir, "none", "x"), join(dir, "dangling"));
symlinkSync(join(dir, "loop"), join(dir, "loop"));
const LONG = "x".repeat(300);

/** Without ports, so that a start that goes too far ends at them. */
const NO_PORTS = [
  "--listen-client-urls=http://203.0.113.1:1",
  "--advertise-client-urls=http://a:1",
];

function start(...args: string[]): string {
  const options = { encoding: "utf8", timeout: 30_000, cwd: dir } as const;
  const { status, stderr } = spawnSync(process.execPath, [RINGD, ...args], options);
  assert.equal(status, 1, stderr);
  assert.equal(stderr.trim().split("\n").length, 1, `one line: ${stderr}`);
  return stderr;
}

const CASES: readonly (readonly [path: string, why: RegExp])[] = [
  ["none/x", /no such file or directory/],
  ["directory", /is a directory/],
  ["file/x", /not a directory/],
  ["dangling", /no such file or directory/],
  ["loop", /too many symbolic links/],
  [LONG, /name too long/],
];

test("--log-outputs and --config-file that cannot be opened: a line with flag, file and reason", () => {
  for (const flag of ["log-outputs", "log-output", "config-file"]) {
    for (const [name, why] of CASES) {
      const path = join(dir, name);
      const line = start(...NO_PORTS, `--${flag}`, path);
      assert.match(line, new RegExp(`--${flag} `));
      assert.ok(line.includes(path), line);
      assert.match(line, why);
    }
  }
  for (const output of ["http://a/b", "systemd/journal", ""]) {
    assert.match(start(...NO_PORTS, `--log-outputs=${output}`), /^Cannot open --log-outputs "/);
  }
  const file = join(dir, "bad.yml");
  writeFileSync(file, "name: [\n");
  assert.match(start("--config-file", file), /cannot read --config-file .*line/);
});

test("--data-dir and --wal-dir that cannot be used: a line with directory and reason", () => {
  for (const flag of ["data-dir", "wal-dir"]) {
    for (const [name, why] of CASES.filter(([path]) => !/none|directory|dangling/.test(path))) {
      const line = start(`--${flag}`, join(dir, name), ...ports());
      assert.ok(line.includes(join(dir, name)), line);
      assert.match(line, why);
    }
    assert.match(start(`--${flag}`, join(dir, "file"), ...ports()), /not a directory/);
  }
});

function ports(): string[] {
  const free = "http://127.0.0.1:0";
  return [
    "--listen-client-urls",
    free,
    "--advertise-client-urls",
    free,
    "--listen-peer-urls",
    free,
  ];
}

test("a log output that takes no more costs lines, not the member", async () => {
  const log = join(dir, "member.log");
  const member = await TestMember.create("ringd", [
    "--log-outputs",
    `stderr,file://${log},/dev/full`,
  ]);
  try {
    assert.equal((await send(member.port, "PUT", "/v2/keys/a", "value=1")).status, 201);
    assert.match(readFileSync(log, "utf8"), /ready to serve client requests/);
    assert.equal(await member.end("SIGTERM"), 0);
  } finally {
    await member.destroy();
  }
});

test("systemd is told by its own tool when the member is ready and when it stops", async () => {
  const tool = join(dir, "systemd-notify");
  const told = join(dir, "told");
  writeFileSync(tool, `#!/bin/sh\necho "$@" >> ${told}\n`, { mode: 0o755 });
  const states = () => (existsSync(told) ? readFileSync(told, "utf8") : "");
  const member = await TestMember.make("ringd");
  const { NOTIFY_SOCKET, PATH } = process.env;
  try {
    Object.assign(process.env, { NOTIFY_SOCKET: join(dir, "notify"), PATH: `${dir}:${PATH}` });
    const started = member.start();
    Object.assign(process.env, { PATH });
    await started;
    await until("READY=1", 20_000, () => /^--pid=\d+ READY=1$/m.test(states()));
    assert.match(member.log, /the unit needs NotifyAccess=all/);
    assert.equal(await member.end("SIGTERM"), 0);
    await until("STOPPING=1", 20_000, () => /^--pid=\d+ STOPPING=1$/m.test(states()));
  } finally {
    if (NOTIFY_SOCKET === undefined) delete process.env.NOTIFY_SOCKET;
    await member.destroy();
  }
});
