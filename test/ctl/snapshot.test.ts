import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import type { AddressInfo } from "node:net";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { type ClusterMember, TestCluster } from "../support/cluster.js";
import { lastFile, SmallDisk } from "../support/full-disk.js";
import { send } from "../support/http.js";
import { TestMember } from "../support/member.js";
import { until } from "../support/until.js";
import { RINGCTL, ringctl } from "./run.js";

/** `ringctl snapshot save`, `status` and `restore` with real members. */

let dir = "";
before(() => {
  dir = mkdtempSync(join(tmpdir(), "ringctl-snapshot-"));
});
after(() => rmSync(dir, { recursive: true }));

interface Status {
  readonly hash: string;
  readonly revision: number;
  readonly totalKey: number;
  readonly totalSize: number;
  readonly raftIndex: number;
}

async function statusOf(file: string, ...more: string[]): Promise<Status> {
  const { code, out, err } = await ringctl(["-o", "json", "snapshot", "status", file, ...more]);
  assert.equal(code, 0, err);
  return JSON.parse(out) as Status;
}

async function save(member: TestMember, file: string, ...more: string[]): Promise<number> {
  const env = { RINGCTL_ENDPOINTS: member.clientUrl };
  const { code, out, err } = await ringctl(["snapshot", "save", file, ...more], { env });
  assert.equal(code, 0, err);
  return Number(/etcd index +(\d+)\n/.exec(out)?.[1]);
}

/** Fails with one line and leaves no file but those that were there. */
async function fails(args: readonly string[], exitCode: number, line: RegExp): Promise<void> {
  const before = readdirSync(dir).sort();
  const { code, out, err } = await ringctl(args);
  assert.deepEqual({ code, out }, { code: exitCode, out: "" }, err);
  assert.match(err, line);
  assert.equal(err.split("\n").length, 2, `one line: ${err}`);
  assert.deepEqual(readdirSync(dir).sort(), before);
}

const WRITERS = 8;

interface Written {
  readonly key: string;
  readonly value: string;
  readonly index: number;
}

/** Writers that set keys of their own, over and over, until `stop`. */
function startLoad(member: TestMember): { stop: () => Promise<Written[]>; count: () => number } {
  const all: Written[] = [];
  let isStopped = false;
  const writer = async (n: number) => {
    for (let i = 0; !isStopped; i++) {
      const key = `load/${n}/${i % 50}`;
      const value = `${n}-${i}-${"v".repeat(i % 500)}`;
      const response = await fetch(`${member.clientUrl}/v2/keys/${key}`, {
        method: "PUT",
        body: new URLSearchParams({ value }),
      });
      const { node } = (await response.json()) as { node: { modifiedIndex: number } };
      all.push({ key, value, index: node.modifiedIndex });
    }
  };
  const writers = Array.from({ length: WRITERS }, (_, n) => writer(n));
  return {
    count: () => all.length,
    stop: async () => {
      isStopped = true;
      await Promise.all(writers);
      return all;
    },
  };
}

test("a snapshot saved under load restores to exactly its index", async () => {
  const member = await TestMember.create("ringd");
  const restored = await TestMember.make("ringd", ["--name", "r1"]);
  const file = join(dir, "load.snap");
  try {
    // Enough that it takes several slices.
    for (let i = 0; i < 20; i++) {
      const response = await send(
        member.port,
        "PUT",
        `/v2/keys/fixed/${i}`,
        `value=${"x".repeat(100_000)}`,
      );
      assert.equal(response.status, 201);
    }
    const load = startLoad(member);
    await until("the load runs", 10_000, () => load.count() > 500);
    const index = await save(member, file);
    const more = load.count();
    await until("it goes on", 10_000, () => load.count() > more + 100);
    const written = await load.stop();
    assert.ok(written.some((one) => one.index > index) && written.some((one) => one.index < index));

    const status = await statusOf(file);
    assert.equal(status.revision, index);
    assert.equal(status.totalSize, statSync(file).size);
    const peer = ["--initial-advertise-peer-urls", restored.peerUrl];
    const cluster = ["--initial-cluster", `r1=${restored.peerUrl}`, "--name", "r1"];
    const target = ["--data-dir", restored.dataDir];
    const done = await ringctl(["snapshot", "restore", file, ...cluster, ...peer, ...target]);
    assert.equal(done.code, 0, done.err);
    assert.match(done.out, new RegExp(`\n {2}etcd index +${index} `));
    assert.equal(statSync(restored.dataDir).mode & 0o777, 0o700);
    const own = await statusOf(
      lastFile(join(restored.dataDir, "member/snap"), ".snap"),
      "--skip-hash-check",
    );
    assert.deepEqual([own.revision, own.raftIndex], [index, status.raftIndex]);
    assert.equal(own.totalKey, status.totalKey);

    await restored.start();
    const expected = new Map<string, Written>();
    for (const one of written.sort((a, b) => a.index - b.index)) {
      if (one.index <= index) expected.set(`/${one.key}`, one);
    }
    const listing = await fetch(`${restored.clientUrl}/v2/keys/load?recursive=true`);
    const { node } = (await listing.json()) as { node: Listed };
    const found = leaves(node);
    assert.equal(found.length, expected.size);
    for (const { key, value, modifiedIndex } of found) {
      const { value: set, index: at } = expected.get(key) as Written;
      assert.deepEqual([value, modifiedIndex], [set, at], key);
    }
    // The history, too: the last change before the snapshot, and nothing that came after it.
    const last = [...expected.values()].reduce((a, b) => (a.index > b.index ? a : b));
    const event = await fetch(
      `${restored.clientUrl}/v2/keys/load?wait=true&recursive=true&waitIndex=${last.index}`,
    );
    assert.equal(((await event.json()) as { node: Listed }).node.modifiedIndex, last.index);
    const now = Number(listing.headers.get("x-etcd-index"));
    assert.ok(now > index && now <= index + 3, `its own name and version only: ${now}`);
  } finally {
    await member.destroy();
    await restored.destroy();
  }
});

interface Listed {
  readonly key: string;
  readonly value: string;
  readonly modifiedIndex: number;
  readonly nodes?: readonly Listed[];
}

function leaves(node: Listed): Listed[] {
  return node.nodes === undefined ? [node] : node.nodes.flatMap(leaves);
}

test("three members restored from one file form a cluster with its keys, users and TTLs", async () => {
  const source = await TestMember.create("ringd");
  const file = join(dir, "three.snap");
  const members = await Promise.all(
    [1, 2, 3].map((n) => TestMember.make("ringd", ["--name", `n${n}`, "--initial-cluster", "x=y"])),
  );
  try {
    await send(source.port, "PUT", "/v2/keys/dir/_hidden", "value=secret");
    await send(source.port, "PUT", "/v2/keys/soon", "value=1&ttl=1000");
    await send(source.port, "PUT", "/v2/keys/gone", "value=1&ttl=1");
    const put = (path: string, json: unknown) =>
      fetch(source.clientUrl + path, { method: "PUT", body: JSON.stringify(json) });
    await put("/v2/auth/users/root", { user: "root", password: "pw" });
    await put("/v2/auth/enable", {});
    const env = { RINGCTL_ENDPOINTS: source.clientUrl };
    const refused = await ringctl(["snapshot", "save", file], { env });
    assert.equal(refused.code, 4);
    assert.match(refused.err, /Insufficient credentials\n$/);
    const saved = await ringctl(["-u", "root:pw", "snapshot", "save", "--quorum", file], { env });
    assert.equal(saved.code, 0, saved.err);

    const cluster = members.map(({ peerUrl }, i) => `n${i + 1}=${peerUrl}`).join(",");
    for (const [i, { peerUrl, dataDir }] of members.entries()) {
      const { code, err } = await ringctl([
        ...["snapshot", "restore", file, "--name", `n${i + 1}`, "--initial-cluster", cluster],
        ...["--initial-cluster-token", "anew", "--initial-advertise-peer-urls", peerUrl],
        ...["--data-dir", dataDir],
      ]);
      assert.equal(code, 0, err);
    }
    await Promise.all(members.map((member) => member.start()));
    const [first, second, third] = members as [TestMember, TestMember, TestMember];
    const anonymous = await send(third.port, "GET", "/v2/auth/users");
    assert.equal(anonymous.status, 401, "authentication is on");
    const hidden = await send(second.port, "GET", "/v2/keys/dir/_hidden");
    assert.equal(JSON.parse(hidden.body.toString()).node.value, "secret");
    const soon = JSON.parse((await send(first.port, "GET", "/v2/keys/soon")).body.toString()).node;
    assert.ok(soon.ttl > 900 && soon.ttl <= 1000, `${soon.ttl}`);
    await until("what expired meanwhile is gone", 10_000, async () => {
      return (await send(first.port, "GET", "/v2/keys/gone")).status === 404;
    });
    assert.equal((await send(first.port, "PUT", "/v2/keys/new", "value=1")).status, 201);
    const list = (await (await fetch(`${second.clientUrl}/v2/members`)).json()) as {
      members: { name: string; clientURLs: string[] }[];
    };
    assert.deepEqual(list.members.map(({ name }) => name).sort(), ["n1", "n2", "n3"]);
  } finally {
    for (const member of [source, ...members]) await member.destroy();
  }
});

test("members of another file, as those of the old cluster, have other ids", async () => {
  const source = await TestMember.create("ringd");
  let places = 0;
  const restored = async (file: string, ...more: string[]) => {
    const { code, out, err } = await ringctl([
      ...["snapshot", "restore", file, "--data-dir", join(source.dataDir, "..", `${++places}`)],
      ...["--initial-cluster", `default=${source.peerUrl}`],
      ...["--initial-advertise-peer-urls", source.peerUrl, ...more],
    ]);
    assert.equal(code, 0, err);
    return /member ([0-9a-f]+) of cluster ([0-9a-f]+) of/.exec(out)?.slice(1) ?? assert.fail(out);
  };
  const [first, second] = [join(dir, "ids1.snap"), join(dir, "ids2.snap")];
  const noHash = join(dir, "no-hash.snap");
  try {
    await save(source, first);
    await send(source.port, "PUT", "/v2/keys/a", "value=1");
    await save(source, second);
    const ids = await restored(first);
    assert.deepEqual(await restored(first), ids, "each member gets the same cluster");
    writeFileSync(noHash, readFileSync(first).subarray(0, -48));
    assert.deepEqual(await restored(noHash, "--skip-hash-check"), ids);
    const others = await restored(second);
    const members = await fetch(`${source.clientUrl}/v2/members`);
    const { members: shown } = (await members.json()) as { members: { id: string }[] };
    const old = [shown[0]?.id, members.headers.get("x-etcd-cluster-id")];
    for (const i of [0, 1]) assert.equal(new Set([ids[i], others[i], old[i]]).size, 3);
  } finally {
    await source.destroy();
  }
});

test("a damaged or cut file is refused with its offset, and nothing is written", async () => {
  const member = await TestMember.create("ringd");
  const file = join(dir, "whole.snap");
  try {
    for (let i = 0; i < 10; i++) {
      await send(member.port, "PUT", `/v2/keys/${i}`, `value=${"x".repeat(100_000)}`);
    }
    await save(member, file);
    const bad = join(dir, "bad.snap");
    const target = ["--data-dir", join(dir, "new")];
    const whole = readFileSync(file);
    for (const at of [
      0,
      20,
      46,
      50,
      70,
      5000,
      500_000,
      whole.length - 70,
      whole.length - 40,
      whole.length - 1,
    ]) {
      const bytes = Buffer.from(whole);
      bytes[at] = (bytes[at] as number) ^ 1;
      writeFileSync(bad, bytes);
      const damaged = /^.*\/bad\.snap is damaged at byte (\d+): /;
      await fails(["snapshot", "restore", bad, ...target], 1, damaged);
      await fails(["snapshot", "status", bad], 1, damaged);
    }
    for (const length of [0, 30, 60, 300_000, whole.length - 1]) {
      writeFileSync(bad, whole.subarray(0, length));
      await fails(["snapshot", "restore", bad, ...target], 1, /bad\.snap is damaged at byte \d+: /);
    }
    writeFileSync(bad, whole.subarray(0, whole.length - 48));
    const noHash = new RegExp(`there is no SHA-256 at byte ${whole.length - 48}: `);
    await fails(["snapshot", "restore", bad, ...target], 1, noHash);
    const skipped = await ringctl(["snapshot", "restore", bad, ...target, "--skip-hash-check"]);
    assert.equal(skipped.code, 0, skipped.err);
    rmSync(join(dir, "new"), { recursive: true });
    rmSync(bad);
  } finally {
    await member.destroy();
  }
});

test("a member's own snapshot is accepted without a hash", async () => {
  const member = await TestMember.create("ringd", ["--snapshot-count", "10"]);
  try {
    for (let i = 0; i < 20; i++) await send(member.port, "PUT", `/v2/keys/${i}`, "value=1");
    const snap = join(member.dataDir, "member/snap");
    await until("there is one", 10_000, () =>
      readdirSync(snap).some((file) => /\.snap$/.test(file)),
    );
    const copy = join(dir, "copy.snap");
    copyFileSync(lastFile(snap, ".snap"), copy);
    await fails(["snapshot", "status", copy], 1, /no SHA-256/);
    const { code, out } = await ringctl(["snapshot", "status", copy, "--skip-hash-check"]);
    assert.equal(code, 0);
    assert.match(out, /^hash +none\netcd index +\d+ /);
    rmSync(copy);
  } finally {
    await member.destroy();
  }
});

test("bad input: one line, and nothing is written", async () => {
  const file = join(dir, "text");
  writeFileSync(file, "no snapshot at all, but longer than a header of one is");
  mkdirSync(join(dir, "full/x"), { recursive: true });
  const restore = ["snapshot", "restore"];
  await fails([...restore], 1, /needs one file/);
  await fails(["snapshot", "save"], 1, /needs one file/);
  await fails([...restore, file], 1, /text is damaged at byte 0: this is not a ringd snapshot/);
  await fails([...restore, join(dir, "none")], 1, /^cannot read .*none: no such file or directory/);
  await fails([...restore, dir], 1, /^cannot read .*: is a directory/);
  await fails([...restore, file, "--data-dir", join(dir, "full")], 1, /full is not empty/);
  await fails([...restore, file, "--name", "n1"], 1, /couldn't find local name "n1"/);
  await fails(
    [
      ...restore,
      file,
      "--initial-cluster",
      "default=http://a:1,b=http://a:1",
      "--initial-advertise-peer-urls",
      "http://a:1",
    ],
    1,
    /has duplicate url/,
  );
  await fails([...restore, file, "--initial-cluster", "default=no url"], 1, /^--initial-cluster: /);
  await fails(
    [...restore, file, "--initial-advertise-peer-urls", "http://other:1"],
    1,
    /but missing from --initial-advertise-peer-urls/,
  );
  const save = ["--endpoints", "http://127.0.0.1:1", "snapshot", "save"];
  await fails([...save, join(dir, "x.snap")], 2, /connection refused/);
  await fails([...save, dir], 1, /^cannot write .*: is a directory/);
});

/** A server that sends these bytes to each connection that asks, and closes it. */
async function serveBytes(bytes: Buffer) {
  const server = createServer((socket) => {
    socket.on("error", () => undefined);
    socket.once("data", () => socket.end(bytes));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}`, close: () => server.close() };
}

test("a cut stream is refused, also where HTTP shows no end", async () => {
  const member = await TestMember.create("ringd");
  const whole = join(dir, "stream.snap");
  try {
    await save(member, whole);
  } finally {
    await member.destroy();
  }
  const bytes = readFileSync(whole);
  rmSync(whole);
  const plain = "HTTP/1.0 200 OK\r\nX-Etcd-Index: 5\r\n\r\n";
  const chunked = `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${(500).toString(16)}\r\n`;
  const target = join(dir, "cut.snap");
  for (const [headers, part, why] of [
    [plain, bytes.subarray(0, 700), /does not end in its SHA-256: it was cut after 700 bytes/],
    [plain, bytes.subarray(0, -1), /does not end in its SHA-256/],
    [plain, Buffer.alloc(0), /after 0 bytes/],
    [chunked, bytes.subarray(0, 400), /the snapshot was cut after \d+ bytes: nothing was saved/],
  ] as const) {
    const server = await serveBytes(Buffer.concat([Buffer.from(headers), part]));
    await fails(["--endpoints", server.url, "snapshot", "save", target], 4, why);
    server.close();
  }
  const server = await serveBytes(Buffer.concat([Buffer.from(plain), bytes]));
  const done = await ringctl(["--endpoints", server.url, "snapshot", "save", target]);
  assert.equal(done.code, 0, done.err);
  server.close();
});

test("a member without a leader serves what it has, and says why it cannot do more", async () => {
  const cluster = await TestCluster.create({ kind: "ringd", size: 2 });
  const [survivor, lost] = cluster.members as [ClusterMember, ClusterMember];
  try {
    const put = await fetch(`${survivor.clientUrl}/v2/keys/a?value=1`, { method: "PUT" });
    assert.equal(put.status, 201);
    await lost.end("SIGKILL");
    const hasLeader = () => fetch(`${survivor.clientUrl}/readyz/leader`).then(({ ok }) => ok);
    await until("it has noticed", 20_000, async () => !(await hasLeader()));
    const file = join(dir, "survivor.snap");
    const save = ["--endpoints", survivor.clientUrl, "snapshot", "save", file];
    await fails(
      [...save, "--quorum"],
      4,
      /^cannot get a snapshot: http.*: etcdserver: no leader$/m,
    );
    const { code, err } = await ringctl(save);
    assert.equal(code, 0, err);
    assert.equal((await statusOf(file)).totalKey, 1);
  } finally {
    await cluster.destroy();
  }
});

test("a member that takes the connection and says nothing is given up", async () => {
  const silent = createServer(() => undefined).listen(0, "127.0.0.1");
  await once(silent, "listening");
  const url = `http://127.0.0.1:${(silent.address() as AddressInfo).port}`;
  const member = await TestMember.create("ringd");
  const options = ["--total-timeout", "500ms", "--endpoints"];
  const save = ["snapshot", "save", join(dir, "silent.snap")];
  try {
    await fails([...options, url, ...save], 4, /^cannot get a snapshot: .*time/);
    const { code, err } = await ringctl([...options, `${url},${member.clientUrl}`, ...save]);
    assert.equal(code, 0, `the next one is asked: ${err}`);
  } finally {
    silent.close();
    await member.destroy();
  }
});

test("what a killed process left in a container, where ids are the same, is no hindrance", async () => {
  const member = await TestMember.create("ringd");
  const file = join(dir, "pid.snap");
  const script = 'touch "$1/.pid.snap.tmp-$$"; shift; exec "$@"';
  const words = [dir, process.execPath, RINGCTL, "snapshot", "save", file];
  try {
    const child = spawn("sh", ["-c", script, "sh", ...words], {
      env: { ...process.env, RINGCTL_ENDPOINTS: member.clientUrl },
      stdio: "ignore",
    });
    const [code] = await once(child, "exit");
    assert.equal(code, 0);
  } finally {
    await member.destroy();
    for (const name of readdirSync(dir)) {
      if (name.startsWith(".pid.snap.tmp-")) rmSync(join(dir, name));
    }
  }
});

test("the log's directory may be within the data directory", async () => {
  const member = await TestMember.make("ringd");
  const file = join(dir, "load.snap");
  const walDir = join(member.dataDir, "its", "wal");
  try {
    const { code, err } = await ringctl([
      ...["snapshot", "restore", file, "--data-dir", member.dataDir, "--wal-dir", walDir],
      ...["--initial-cluster", `default=${member.peerUrl}`],
      ...["--initial-advertise-peer-urls", member.peerUrl],
    ]);
    assert.equal(code, 0, err);
    assert.equal(statSync(member.dataDir).mode & 0o777, 0o700);
    await member.start(["--wal-dir", walDir]);
    assert.equal((await send(member.port, "GET", "/v2/keys/fixed/0")).status, 200);
  } finally {
    await member.destroy();
  }
});

test("a full disk: one line, and nothing is left", async (t) => {
  const disk = SmallDisk.mount(1);
  if (disk === undefined) {
    t.skip("no permission to mount a small disk");
    return;
  }
  const member = await TestMember.create("ringd");
  try {
    for (let i = 0; i < 20; i++) {
      await send(member.port, "PUT", `/v2/keys/${i}`, `value=${"x".repeat(100_000)}`);
    }
    const target = join(disk.dir, "new");
    const args = ["--endpoints", member.clientUrl, "snapshot", "save", target];
    await fails(args, 1, /^cannot write .*\/new: no space left on device$/m);
    assert.deepEqual(readdirSync(disk.dir), []);
    const file = join(dir, "large.snap");
    await save(member, file);
    await fails(["snapshot", "restore", file, "--data-dir", target], 1, /ENOSPC|no space left/);
    assert.deepEqual(readdirSync(disk.dir), []);
  } finally {
    await member.destroy();
    disk.unmount();
  }
});

test("Ctrl-C leaves no file", async () => {
  const silent = createServer((socket) => {
    socket.on("error", () => undefined);
    socket.once("data", () => socket.write("HTTP/1.0 200 OK\r\n\r\nringdSNP"));
  });
  silent.listen(0, "127.0.0.1");
  await once(silent, "listening");
  const { port } = silent.address() as AddressInfo;
  const file = join(dir, "interrupted.snap");
  const before = readdirSync(dir).sort();
  const args = ["--endpoints", `http://127.0.0.1:${port}`, "snapshot", "save", file];
  const child = spawn(process.execPath, [RINGCTL, ...args], { stdio: "ignore" });
  const begun = () => readdirSync(dir).some((name) => name.startsWith(".interrupted.snap"));
  await until("it has begun", 10_000, begun);
  child.kill("SIGINT");
  const [code] = (await once(child, "exit")) as [number | null];
  assert.equal(code, 130);
  assert.deepEqual(readdirSync(dir).sort(), before);
  silent.close();
});
