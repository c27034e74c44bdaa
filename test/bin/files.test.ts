import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { send } from "../support/http.js";
import { TestMember } from "../support/member.js";
import { until } from "../support/until.js";

const ROOT = new URL("../../../", import.meta.url).pathname;
const PROGRAM = "dist/bin/ringd.js";
const RINGD = join(ROOT, PROGRAM);
const NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] as const;
const dir = mkdtempSync(join(tmpdir(), "ringd-test-"));
after(() => {
  for (const disk of ["full", "read-only", "build"]) spawnSync("umount", [join(dir, disk)]);
  // Were the build still there, it would be removed with the directory.
  if (!existsSync(join(dir, "build", PROGRAM))) rmSync(dir, { recursive: true });
});

mkdirSync(join(dir, "directory"));
writeFileSync(join(dir, "file"), "");
symlinkSync(join(dir, "none", "x"), join(dir, "dangling"));
symlinkSync(join(dir, "loop"), join(dir, "loop"));
spawnSync("mkfifo", [join(dir, "pipe")]);
const LONG = "x".repeat(300);

/** Mounts a small disk, full or read-only. @returns false if this user may not mount */
function mountDisk(name: "full" | "read-only"): boolean {
  const place = join(dir, name);
  mkdirSync(place);
  const options = name === "full" ? "size=64k,mode=700" : "ro,mode=700";
  if (spawnSync("mount", ["-t", "tmpfs", "-o", options, "tmpfs", place]).status !== 0) return false;
  if (name === "full") {
    assert.throws(() => writeFileSync(join(place, "ballast"), new Uint8Array(2 ** 17)), /ENOSPC/);
  }
  return true;
}

function mayNobodyRead(path: string): boolean {
  return spawnSync(NOBODY[0], [...NOBODY.slice(1), "test", "-r", path]).status === 0;
}

/** The build at a place that everybody can reach, whatever directory it is in. */
function boundProgram(): string {
  const place = join(dir, "build");
  mkdirSync(place);
  spawnSync("mount", ["-o", "bind,ro", ROOT, place]);
  return join(place, PROGRAM);
}

/** Without ports, so that a start that goes too far ends at them. */
const NO_PORTS = [
  "--listen-client-urls=http://203.0.113.1:1",
  "--advertise-client-urls=http://a:1",
];

function start(...args: string[]): string {
  return startBy([process.execPath, RINGD], ...args);
}

/** @param command starts ringd with the arguments after it */
function startBy(command: readonly string[], ...args: string[]): string {
  const options = { encoding: "utf8", timeout: 30_000, cwd: dir } as const;
  const [program = "", ...words] = [...command, ...args];
  const { status, stderr } = spawnSync(program, words, options);
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
  const unread = start(...NO_PORTS, "--log-outputs", join(dir, "pipe"));
  assert.match(unread, /^Cannot open --log-outputs ".*pipe": is a named pipe without a reader$/m);
  for (const [path, why] of [
    [join(dir, "pipe"), "is a named pipe"],
    ["/dev/zero", "is an endless device"],
    ["/dev/full", "is an endless device"],
    [large(), "is larger than 1048576 bytes"],
  ] as const) {
    assert.ok(start("--config-file", path).includes(`cannot read --config-file ${path}: ${why}`));
  }
  const file = join(dir, "bad.yml");
  writeFileSync(file, "name: [\n");
  assert.match(start("--config-file", file), /cannot read --config-file .*line/);
});

test("--data-dir and --wal-dir that cannot be used: a line with directory and reason", () => {
  for (const flag of ["data-dir", "wal-dir"]) {
    const role = flag === "data-dir" ? "data" : "log";
    for (const [name, why] of CASES.filter(([path]) => !/none|directory|dangling/.test(path))) {
      const line = start(`--${flag}`, join(dir, name), ...ports());
      assert.ok(line.startsWith(`Cannot use ${role} directory ${join(dir, name)}`), line);
      assert.match(line, why);
    }
    for (const path of [join(dir, "file"), join(dir, "pipe"), "/dev/null"]) {
      const line = start(`--${flag}`, path, ...ports());
      assert.equal(line, `Cannot use ${role} directory ${path}: not a directory\n`);
    }
    const nul = join(dir, `nul-${flag}.yml`);
    const urls = ["peer", "client"].map((kind) => `listen-${kind}-urls: http://127.0.0.1:0\n`);
    writeFileSync(nul, `${flag}: "a\\0b"\n${urls.join("")}`);
    assert.match(start("--config-file", nul), /null bytes/);
  }
});

test("--data-dir and --wal-dir on a full disk or a read-only one: a line with file and reason", (t) => {
  if (!mountDisk("full") || !mountDisk("read-only")) return t.skip("needs a user who may mount");
  const other = ["--data-dir", join(dir, "data")];
  for (const name of ["full", "full/x", "read-only", "read-only/x"]) {
    const path = join(dir, name);
    const why = name.startsWith("full") ? /no space left|ENOSPC/ : /read-only file system|EROFS/;
    for (const line of [
      start("--data-dir", path, ...ports()),
      start("--wal-dir", path, ...other, ...ports()),
    ]) {
      assert.ok(line.includes(path), line);
      assert.match(line, why);
    }
  }
  assert.match(start(...NO_PORTS, `--log-outputs=${join(dir, "read-only/x")}`), /: read-only file/);
});

test("files that belong to another user: a line with file and reason", (t) => {
  chmodSync(dir, 0o755);
  const program = [RINGD, boundProgram()].find(mayNobodyRead);
  if (program === undefined) return t.skip("needs root, and a build that everybody may read");
  const closed = join(dir, "closed");
  mkdirSync(closed, { mode: 0o700 });
  writeFileSync(join(closed, "x"), "", { mode: 0o600 });
  const shared = join(dir, "shared");
  mkdirSync(shared);
  chmodSync(shared, 0o777);
  for (const flag of ["config-file", "log-outputs", "data-dir", "wal-dir"]) {
    for (const path of [join(closed, "x"), closed]) {
      if (path === closed && /file|outputs/.test(flag)) continue; // Reported as a directory.
      const more = flag === "config-file" ? [] : ports();
      if (flag === "wal-dir") more.push("--data-dir", join(shared, "data"));
      const line = startBy([...NOBODY, process.execPath, program], `--${flag}`, path, ...more);
      assert.ok(line.includes(path), line);
      assert.match(line, /permission denied/);
    }
  }
});

/** A regular file that is not a configuration. */
function large(): string {
  const path = join(dir, "large.yml");
  writeFileSync(path, "#".repeat(2 ** 20 + 1));
  return path;
}

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

test("all of a data directory is its owner's, whatever the umask; an open one is warned of", async () => {
  const umask = process.umask(0); // Inherited by the member.
  const member = await TestMember.create("ringd", ["--snapshot-count", "20"]);
  process.umask(umask);
  for (let i = 0; i < 30; i++) await send(member.port, "PUT", "/v2/keys/k", "value=x");
  const { dataDir } = member;
  const names = () => readdirSync(dataDir, { recursive: true, encoding: "utf8" });
  await until("there is a snapshot", 10_000, () => names().some((name) => name.endsWith(".snap")));
  const isOpen = (name: string) => (statSync(join(dataDir, name)).mode & 0o077) !== 0;
  assert.deepEqual(["", ...names()].filter(isOpen), []);
  assert(names().length >= 7, names().join());
  assert.doesNotMatch(member.log, /check file permission/);
  await member.end("SIGTERM");
  chmodSync(dataDir, 0o755);
  await member.start();
  assert.match(member.log, /check file permission: directory \S+ exist, but .*drwxr-xr-x/);
  await member.destroy();
});

test("a log output that fails loses lines, and does not end the member", async () => {
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

test("systemd-notify reports when the member is ready and when it stops", async () => {
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
