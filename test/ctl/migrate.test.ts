import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { answersOf, fill } from "../etcd/scenario.js";
import { type MemberKind, PORT_LOST, TestMember } from "../support/member.js";
import { cleanEnv, RINGCTL, ringctl } from "./run.js";

/** `ringctl migrate` and `mirror` between real servers. */

const hasEtcd = spawnSync("etcd", ["--version"]).status === 0;
const needsEtcd = { skip: hasEtcd ? false : "etcd is not installed" };
const dir = mkdtempSync(join(tmpdir(), "ringctl-migrate-"));
const members: TestMember[] = [];
const running: Running[] = [];
afterEach(async () => {
  for (const each of running.splice(0)) each.kill("SIGKILL");
  for (const member of members.splice(0)) await member.destroy();
});
after(() => rmSync(dir, { recursive: true }));

async function start(kind: MemberKind, args: readonly string[] = []): Promise<TestMember> {
  const member = await TestMember.create(kind, args);
  members.push(member);
  return member;
}

function between(from: TestMember, to: TestMember, ...more: string[]): string[] {
  return ["--from", from.clientUrl, "--to", to.clientUrl, ...more];
}

async function put(member: TestMember, key: string, form: string): Promise<void> {
  const headers = { "content-type": "application/x-www-form-urlencoded" };
  const response = await fetch(`${member.clientUrl}/v2/keys${key}`, {
    ...{ method: "PUT", body: form, headers },
  });
  assert.ok(response.ok, `${key}: ${await response.text()}`);
}

async function remove(member: TestMember, key: string): Promise<void> {
  await fetch(`${member.clientUrl}/v2/keys${key}?recursive=true`, { method: "DELETE" });
}

interface Listed {
  readonly key?: string;
  readonly value?: string;
  readonly dir?: boolean;
  readonly ttl?: number;
  readonly nodes?: readonly Listed[];
}

/** What both sides must agree on. */
async function contentOf(member: TestMember, key = "/"): Promise<Record<string, unknown>> {
  const response = await fetch(`${member.clientUrl}/v2/keys${key}?recursive=true&sorted=true`);
  const content: Record<string, unknown> = {};
  const add = ({ key = "/", dir, value, ttl, nodes = [] }: Listed) => {
    content[key] = dir ? { dir } : { value };
    if (ttl !== undefined) Object.assign(content[key] as object, { hasTtl: true });
    for (const node of nodes) add(node);
  };
  const { node } = (await response.json()) as { node?: Listed };
  if (node !== undefined) add(node);
  return content;
}

/** A command that runs until it is told to end. */
class Running {
  readonly #child: ChildProcess;
  out = "";
  err = "";

  constructor(args: readonly string[]) {
    this.#child = spawn(process.execPath, [RINGCTL, ...args], { env: cleanEnv() });
    this.#child.stdout?.on("data", (text) => {
      this.out += text;
    });
    this.#child.stderr?.on("data", (text) => {
      this.err += text;
    });
    running.push(this);
  }

  async says(what: RegExp): Promise<void> {
    while (!what.test(this.err)) {
      assert.equal(this.#child.exitCode, null, `ended: ${this.err}`);
      await sleep(10);
    }
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  async end(signal: NodeJS.Signals): Promise<number | null> {
    const closed = once(this.#child, "close");
    this.kill(signal);
    return ((await closed) as [number | null])[0];
  }
}

/** Meanwhile its port may be the local port of another connection. */
async function restart(member: TestMember): Promise<void> {
  for (;;) {
    try {
      await member.start();
      return;
    } catch (error) {
      if (!PORT_LOST.test(member.log)) throw error;
      await sleep(100);
    }
  }
}

/** Waits until the target has the key, or has not. */
async function untilThere(member: TestMember, key: string, isThere = true): Promise<void> {
  const url = `${member.clientUrl}/v2/keys${key}`;
  while (((await fetch(url)).status === 200) !== isThere) await sleep(20);
}

test("from etcd, until the target has caught up", needsEtcd, async () => {
  const [from, to] = [await start("etcd"), await start("ringd")];
  await fill(from.clientUrl, 300);
  const hidden = ["--hidden", "/_hidden", "--hidden", "/visible/_hidden"];
  const args = between(from, to, "--until-caught-up", ...hidden);
  const { code, out, err } = await ringctl(["migrate", ...args]);
  assert.equal(code, 0, err);
  assert.match(err, /^copied \d+ keys and \d+ directories in [\d.]+ s, \d+\/s\n$/);
  assert.match(out, /^written +\d+ keys.*\nfollowed +0 changes\ncompared +\d+ nodes: equal\n/);
  assert.match(
    out,
    /\nNOT CARRIED {2}the bytes of 1 values that are not UTF-8.*\n {2}\/last\/bytes\n/,
  );
  assert.match(out, /\nnot seen +hidden names .* outside of \/_hidden, \/visible\/_hidden: /);
  for (const key of ["/", "/_hidden", "/visible/_hidden"]) {
    assert.deepEqual(await contentOf(to, key), await contentOf(from, key));
  }
  assert.deepEqual(await contentOf(to, "/last/_hidden"), {}, "not named");
  const { listings: source } = await answersOf(from.clientUrl);
  const { listings: target } = await answersOf(to.clientUrl);
  const apart = Math.abs(expirationOf(source) - expirationOf(target));
  assert.ok(apart < 2500, `${apart} ms`);
});

function expirationOf(listings: Readonly<Record<string, unknown>>): number {
  const text = /"\/ttl\/key".*?"expiration":"([^"]+)"/.exec(JSON.stringify(listings["/"]))?.[1];
  return Date.parse(text ?? "");
}

test("while it is written to, up to the cut-over; and back to etcd", needsEtcd, async () => {
  const [from, to] = [await start("ringd"), await start("etcd")];
  let isWriting = true;
  const writer = async () => {
    for (let i = 0; isWriting; i++) {
      await put(from, `/live/${i % 17}/key`, `value=${i}`);
      if (i % 5 === 0) await put(from, `/live/_h/${i % 13}`, `value=${i}`);
      if (i % 29 === 0) await remove(from, `/live/${i % 7}`);
      if (i % 97 === 0) await remove(from, "/live");
    }
  };
  for (let i = 0; i < 200; i++) await put(from, `/before/${i}`, `value=${i}`);
  const writing = writer();
  const command = new Running(["migrate", ...between(from, to, "--hidden", "/live/_h")]);
  await command.says(/^following; stop the writers, then press CTRL\+C/m);
  await sleep(1500);
  isWriting = false;
  await writing;
  assert.equal(await command.end("SIGINT"), 0, command.err);
  assert.match(command.out, /\nfollowed +\d\d+ changes\ncompared +\d+ nodes: equal/);
  assert.deepEqual(await contentOf(to), await contentOf(from));
  assert.deepEqual(await contentOf(to, "/live/_h"), await contentOf(from, "/live/_h"));
});

test("a source with users: the URL names one", needsEtcd, async () => {
  const [from, to] = [await start("etcd"), await start("ringd")];
  await fill(from.clientUrl, 10);
  const authorization = `Basic ${Buffer.from("root:secret").toString("base64")}`;
  const guest = `${from.clientUrl}/v2/auth/roles/guest`;
  await fetch(guest, { method: "DELETE", headers: { authorization } });
  const args = ["migrate", "--to", to.clientUrl, "--until-caught-up", "--from"];
  const refused = await ringctl([...args, from.clientUrl]);
  assert.equal(refused.code, 4);
  assert.equal(
    refused.err,
    "source: 110: The request requires user authentication (Insufficient credentials) [0]\n",
  );
  const { code, out, err } = await ringctl([
    ...args,
    from.clientUrl.replace("//", "//root:secret@"),
  ]);
  assert.equal(code, 0, err);
  assert.match(out, /nodes: equal\n/);
});

test("a burst of more changes than the history holds is followed", async () => {
  const [from, to] = [await start("ringd"), await start("ringd")];
  const command = new Running(["migrate", ...between(from, to)]);
  await command.says(/^following/m);
  for (let round = 0; round < 24; round++) {
    const keys = Array.from({ length: 50 }, (_, i) => i);
    await Promise.all(keys.map((i) => put(from, `/burst/${i}`, `value=${round}`)));
  }
  assert.equal(await command.end("SIGINT"), 0, command.err);
  assert.doesNotMatch(command.err, /too short/);
  assert.match(command.out, /\nfollowed +1200 changes\ncompared +51 nodes: equal\n/);
});

test("a target that is not empty is refused unless --merge", async () => {
  const [from, to] = [await start("ringd"), await start("ringd")];
  await put(from, "/a", "value=1");
  await put(to, "/b", "value=2");
  const args = ["migrate", ...between(from, to, "--until-caught-up")];
  const { code, out, err } = await ringctl(args);
  assert.deepEqual({ code, out }, { code: 1, out: "" });
  assert.equal(err, "the target is not empty: it has /b; --merge accepts that\n");
  const merged = await ringctl([...args, "--merge"]);
  assert.equal(merged.code, 0, merged.err);
  assert.deepEqual(await contentOf(to), {
    ...{ "/": { dir: true }, "/a": { value: "1" }, "/b": { value: "2" } },
  });
});

test("resumed after kill -9 and a loss of history", async () => {
  const [from, to] = [await start("ringd"), await start("ringd")];
  const state = join(dir, "state.json");
  const args = ["migrate", ...between(from, to, "--state", state)];
  for (let i = 0; i < 50; i++) await put(from, `/d/${i}`, `value=${i}`);
  const first = new Running(args);
  await first.says(/^following/m);
  await put(from, "/followed", "value=1");
  await untilThere(to, "/followed");
  await first.end("SIGKILL");
  assert.ok(existsSync(state));
  // The history has 1,000 events.
  for (let round = 0; round < 20; round++) {
    const keys = Array.from({ length: 60 }, (_, i) => i);
    await Promise.all(keys.map((i) => put(from, `/d/${i}`, `value=again${round}`)));
  }
  await remove(from, "/d/7");
  const second = new Running(args);
  await second.says(/^resumed where the last run ended\n/m);
  await second.says(/^the source's history was too short: all of it was read again\n/m);
  assert.equal(await second.end("SIGINT"), 0);
  assert.match(second.out, /nodes: equal\n/);
  assert.deepEqual(await contentOf(to), await contentOf(from));
  const other = await ringctl(["migrate", ...between(to, from, "--state", join(dir, "none.json"))]);
  assert.match(other.err, /^the target is not empty/);
});

test("source and target die midway", async () => {
  const [from, to] = [await start("ringd"), await start("ringd")];
  const command = new Running(["migrate", ...between(from, to)]);
  await command.says(/^following/m);
  await put(from, "/a", "value=1");
  await untilThere(to, "/a");
  await from.end("SIGKILL");
  await command.says(/^source fails, trying again: /m);
  await restart(from);
  await put(from, "/b", "value=2");
  await untilThere(to, "/b");
  assert.match(command.err, /^source is back$/m);
  await to.end("SIGKILL");
  await put(from, "/c", "value=3");
  await command.says(/^target fails, trying again: /m);
  await restart(to);
  await untilThere(to, "/c");
  assert.equal(await command.end("SIGINT"), 0);
  assert.deepEqual(await contentOf(to), await contentOf(from));
});

test("mirror: changes, refreshed TTLs, deletes; resumed", async () => {
  const [from, to] = [await start("ringd"), await start("ringd")];
  const args = ["mirror", ...between(from, to, "--state", join(dir, "mirror.json"))];
  await put(from, "/lease", "value=held&ttl=4");
  const first = new Running(args);
  await first.says(/^following; CTRL\+C ends$/m);
  await put(from, "/a/b", "value=1");
  await untilThere(to, "/a/b");
  await remove(from, "/a");
  await untilThere(to, "/a", false);
  for (let i = 0; i < 6; i++) {
    await sleep(1000);
    await put(from, "/lease?prevExist=true", "ttl=4&refresh=true");
  }
  assert.deepEqual((await contentOf(to))["/lease"], { value: "held", hasTtl: true });
  assert.equal(await first.end("SIGINT"), 0);
  assert.match(first.out, /^applied \d+ changes\n$/);
  await put(from, "/meanwhile", "value=1");
  const second = new Running(args);
  await untilThere(to, "/meanwhile");
  await second.says(/^resumed/m);
  assert.equal(await second.end("SIGTERM"), 0);
});

test("bad input: one line and exit code 1; nobody there: 2", async () => {
  const member = await start("ringd");
  const cases: readonly [args: string[], line: RegExp][] = [
    [[], /^--from is needed: the URL of a v2 server\n$/],
    [["--from", member.clientUrl], /^--to is needed/],
    [["--from", "nonsense"], /^--from nonsense: not an http or https URL\n$/],
    [between(member, member), /^--from and --to are both http:.*\n$/],
    [["--hidden", "/shown"], /^--hidden \/shown: no name in it begins with "_"/],
  ];
  for (const [args, line] of cases) {
    const { code, out, err } = await ringctl(["migrate", ...args]);
    assert.deepEqual({ code, out }, { code: 1, out: "" }, err);
    assert.match(err, line);
  }
  const nobody = ["--from", "http://127.0.0.1:1", "--to", member.clientUrl];
  const { code, err } = await ringctl(["migrate", ...nobody]);
  assert.equal(code, 2);
  assert.match(err, /^source: .*connection refused/);
});
