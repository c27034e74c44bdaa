import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { TestMember } from "../support/member.js";
import { ringctl } from "./run.js";

/** Unusable files and directories in ringctl's flags: one line, exit code 1. */

const dir = mkdtempSync(join(tmpdir(), "ringctl-files-"));
const place = (name: string) => (name.startsWith("/") ? name : join(dir, name));
let member: TestMember;
let canMount = false;
before(async () => {
  mkdirSync(join(dir, "directory"));
  mkdirSync(join(dir, "full"));
  writeFileSync(join(dir, "file"), "");
  spawnSync("mkfifo", [join(dir, "pipe")]);
  const mount = ["-t", "tmpfs", "-o", "size=64k", "tmpfs", join(dir, "full")];
  canMount = spawnSync("mount", mount).status === 0;
  if (canMount) {
    assert.throws(() => writeFileSync(join(dir, "full/x"), new Uint8Array(2 ** 17)), /ENOSPC/);
  }
  member = await TestMember.create("ringd");
});
after(async () => {
  await member.destroy();
  if (canMount) spawnSync("umount", [join(dir, "full")]);
  rmSync(dir, { recursive: true });
});

const LONG = "x".repeat(300);
const MISSING = "no such file or directory";
const ENDLESS = "is an endless device";

/** Unreadable files: name and reason. */
const UNREADABLE = [
  ["none", MISSING],
  ["file/x", "not a directory"],
  ["directory", "is a directory"],
  ["pipe", "is a named pipe"],
  ["/dev/zero", ENDLESS],
  ["/dev/full", ENDLESS],
] as const;

/** Directories that cannot be made. */
const UNMAKEABLE = [
  ["file", "not a directory"],
  ["pipe", "not a directory"],
  ["/dev/full", "not a directory"],
  ["/proc/none", MISSING],
  [LONG, "name too long"],
] as const;

async function fails(args: readonly string[], line: string): Promise<void> {
  const env = { RINGCTL_ENDPOINTS: member.clientUrl };
  const { code, out, err } = await ringctl(["--no-sync", ...args], { input: "", env });
  assert.deepEqual({ code, out, err }, { code: 1, out: "", err: `${line}\n` });
}

test("load: a dump that cannot be read", async () => {
  for (const [name, why] of [...UNREADABLE, [LONG, "name too long"]] as const) {
    await fails(["load", "--file", place(name)], `cannot read ${place(name)}: ${why}`);
  }
});

test("import: a snapshot that cannot be read, in etcdctl's words", async () => {
  for (const [name] of [...UNREADABLE, [LONG]]) {
    const line = `cannot read snapshot file ${place(name)}`;
    await fails(["import", "--snap", place(name)], line);
  }
});

test("--ca-file, --cert-file, --key-file: files that cannot be read, in etcdctl's words", async () => {
  for (const [name, why] of [...UNREADABLE, [LONG, "file name too long"]] as const) {
    const path = place(name);
    const line = `${/^is a/.test(why) ? "read" : "open"} ${path}: ${why}`;
    await fails(["--ca-file", path, "get", "/a"], line);
    await fails(["--cert-file", path, "--key-file", place("file"), "get", "/a"], line);
    await fails(["--cert-file", place("file"), "--key-file", path, "get", "/a"], line);
  }
});

test("dump: a file that cannot be written", async () => {
  for (const [name, why] of [
    ["none/x", MISSING],
    ["file/x", "not a directory"],
    ["directory", "is a directory"],
    ["pipe", "is a named pipe without a reader"],
    ["/dev/full", "no space left on device"],
    [LONG, "name too long"],
    ...(canMount ? ([["full/y", "no space left on device"]] as const) : []),
  ] as const) {
    await fails(["dump", "--file", place(name)], `cannot write ${place(name)}: ${why}`);
  }
});

test("backup: directories that cannot be made, or do not hold a log", async () => {
  const source = ["backup", "--data-dir", member.dataDir];
  const made = join(dir, "backup");
  for (const [name, why] of UNMAKEABLE) {
    const path = place(name);
    const snap = join(path, "member", "snap");
    await fails([...source, "--backup-dir", path], `Cannot use backup directory ${snap}: ${why}`);
    const line = `Cannot use backup directory ${path}: ${why}`;
    await fails([...source, "--backup-dir", made, "--backup-wal-dir", path], line);
    const none = `${join(path, "member", "wal")}: no such directory`;
    await fails(["backup", "--data-dir", path, "--backup-dir", made], none);
  }
  const none = ["--wal-dir", join(dir, "directory"), "--backup-dir", join(dir, "other")];
  await fails([...source, ...none], `${join(dir, "directory")} holds no log`);
});
