import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { type RawAnswer, request } from "../support/http.js";
import { TestMember } from "../support/member.js";
import { freePorts } from "../support/ports.js";
import { until } from "../support/until.js";

const ROOT = basic("root", "root-secret-1");
const FAST = ["--bcrypt-cost", "4"];
const RINGCTL = new URL("../../bin/ringctl.js", import.meta.url).pathname;

function basic(user: string, password: string): string {
  return `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}`;
}

interface Call {
  readonly method?: string;
  readonly path: string;
  readonly authorization?: string;
  readonly json?: unknown;
}

function call(port: number, { method = "GET", path, authorization = "", json }: Call) {
  const headers: Record<string, string> = { "Content-Type": "application/json" };
  if (authorization !== "") headers.Authorization = authorization;
  const body = json === undefined ? {} : { body: JSON.stringify(json) };
  return request(port, { method, path, headers, ...body });
}

async function statusOf(port: number, asked: Call): Promise<number> {
  return (await call(port, asked)).status;
}

/** Users root and ann; ann may read below /pub. Authentication is enabled. */
async function enable(port: number): Promise<void> {
  const put = async (path: string, json?: unknown) => {
    const { status } = await call(port, { method: "PUT", path, json });
    assert.ok(status === 200 || status === 201, path);
  };
  await put("/v2/auth/users/root", { user: "root", password: "root-secret-1" });
  await put("/v2/auth/roles/r", { role: "r", permissions: { kv: { read: ["/pub/*"] } } });
  const ann = { user: "ann", password: "ann-secret-2", roles: ["r"] };
  await put("/v2/auth/users/ann", ann);
  await put("/v2/auth/enable");
}

async function isAsSetUp(port: number): Promise<void> {
  const ann = basic("ann", "ann-secret-2");
  assert.equal(await statusOf(port, { path: "/v2/auth/users", authorization: ROOT }), 200);
  assert.equal(await statusOf(port, { path: "/v2/keys/pub/x", authorization: ann }), 404);
  assert.equal(await statusOf(port, { path: "/v2/keys/x", authorization: ann }), 401);
  assert.equal(await statusOf(port, { path: "/v2/auth/users" }), 401);
}

function filesBelow(directory: string): string[] {
  return readdirSync(directory, { recursive: true, encoding: "utf8" })
    .map((name) => join(directory, name))
    .filter((file) => statSync(file).isFile());
}

test("users survive a restart, a snapshot, a backup and its start; no file has a password", async () => {
  const member = await TestMember.create("ringd", [...FAST, "--snapshot-count", "5"]);
  const backup = join(member.dataDir, "..", "backup");
  try {
    await enable(member.port);
    await isAsSetUp(member.port);
    await until("there is a snapshot", 10_000, () => {
      return filesBelow(join(member.dataDir, "member", "snap")).some((f) => f.endsWith(".snap"));
    });
    assert.doesNotMatch(member.log, /secret/);
    await member.restart();
    await isAsSetUp(member.port);
    const flags = ["--data-dir", member.dataDir, "--backup-dir", backup];
    execFileSync(process.execPath, [RINGCTL, "backup", ...flags]);
    await member.end("SIGTERM");
    const found = [member.dataDir, backup].flatMap(filesBelow).map((file) => readFileSync(file));
    assert.ok(found.some((bytes) => bytes.includes('{"user":"ann","password":"$2')));
    for (const secret of ["root-secret-1", "ann-secret-2"]) {
      assert.ok(!found.some((bytes) => bytes.includes(secret)));
    }
    await member.start(["--data-dir", backup, "--force-new-cluster"]);
    await isAsSetUp(member.port);
    assert.doesNotMatch(member.log, /secret/);
  } finally {
    await member.destroy();
  }
});

for (const frontend of ["uws", "node"] as const) {
  test(`${frontend}: HEAD, odd paths and refusals are answered as by etcd`, async () => {
    const member = await TestMember.create("ringd", [...FAST, "--frontend", frontend]);
    const { port } = member;
    try {
      await enable(port);
      const shape = ({ status, headers, body }: RawAnswer) =>
        `${status} ${headers.get("content-type")} ${headers.get("x-etcd-cluster-id") !== undefined} ${headers.get("allow") ?? ""} ${body}`;
      const json = "application/json";
      for (const [asked, expected] of [
        [{ path: "/v2/auth/users/a/b" }, `400 ${json} false  {"message":"Invalid path"}`],
        [{ path: "/v2/auth" }, "404 text/plain; charset=utf-8 false  404 page not found\n"],
        [{ method: "HEAD", path: "/v2/auth/users" }, "405 text/plain; charset=utf-8 false GET "],
        [{ path: "/v2/auth/users" }, `401 ${json} false  {"message":"Insufficient credentials"}`],
        [
          { path: "/v2/keys/a", authorization: basic("ann", "ann-secret-2") },
          `401 ${json} true  {"errorCode":110,"message":"The request requires user authentication","cause":"Insufficient credentials","index":0}\n`,
        ],
        [{ method: "DELETE", path: "/v2/auth/enable", authorization: ROOT }, `200 ${json} true  `],
      ] as const) {
        assert.equal(shape(await call(port, asked)), expected);
      }
    } finally {
      await member.destroy();
    }
  });

  test(`${frontend}: wrong tries of one address are held back, and nobody else`, async () => {
    const member = await TestMember.create("ringd", [...FAST, "--frontend", frontend]);
    const { port } = member;
    try {
      await enable(port);
      await isAsSetUp(port);
      const wrong = { path: "/v2/keys/pub/x", authorization: basic("ann", "guess") };
      const startMs = performance.now();
      const answers: { ms: number; status: number; body: string }[] = [];
      const guesses = Array.from({ length: 16 }, async () => {
        const { status, body } = await call(port, wrong);
        answers.push({ ms: performance.now() - startMs, status, body: body.toString() });
      });
      const right = { path: "/v2/keys/pub/x", authorization: basic("ann", "ann-secret-2") };
      assert.equal(await statusOf(port, right), 404);
      const rightMs = performance.now() - startMs;
      await Promise.all(guesses);
      assert.equal(new Set(answers.map(({ status, body }) => `${status} ${body}`)).size, 1);
      const late = answers.filter(({ ms }) => ms >= 990);
      assert.ok(late.length >= 6, `${late.length} of 16 were held back`);
      assert.ok(rightMs < Math.min(...late.map(({ ms }) => ms)));
    } finally {
      await member.destroy();
    }
  });
}

test("--audit-log names who did what, from where; --protect-status and profiles ask for root", async () => {
  const [metricsPort = 0] = await freePorts(1);
  const member = await TestMember.make("ringd", [
    ...[...FAST, "--enable-pprof", "--protect-status", "--frontend-threads", "2"],
    ...["--listen-metrics-urls", `http://127.0.0.1:${metricsPort}`],
  ]);
  const file = join(member.dataDir, "..", "audit.log");
  try {
    await member.start(["--audit-log", file]);
    const { port } = member;
    assert.equal(await statusOf(port, { path: "/metrics" }), 200, "while it is disabled");
    await enable(port);
    const local = ["/metrics", "/debug/vars", "/debug/pprof/", "/debug/none"];
    const paths = [...local, "/v2/stats/self", "/v2/members"];
    for (const path of paths) {
      assert.equal(await statusOf(port, { path }), 401, path);
      const open = await call(port, { path, authorization: ROOT });
      const expected = path.includes("pprof") || path === "/debug/none" ? 404 : 200;
      assert.equal(open.status, expected, path);
    }
    const level = { method: "PUT", path: "/config/local/log", json: { Level: "DEBUG" } };
    assert.equal(await statusOf(port, level), 401);
    assert.equal(await statusOf(port, { ...level, authorization: ROOT }), 204);
    for (const path of ["/metrics", "/debug/pprof/"]) {
      assert.equal(await statusOf(metricsPort, { path }), 401, path);
      assert.equal(await statusOf(metricsPort, { path, authorization: ROOT }), 200, path);
    }
    assert.equal(await statusOf(metricsPort, { path: "/health" }), 200);
    await member.end("SIGTERM");
    const text = readFileSync(file, "utf8");
    const lines = text
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    assert.equal(lines.filter(({ kind }) => kind === "auth").length, 4);
    assert.equal(lines.filter(({ kind }) => kind === "denied").length, paths.length + 3);
    assert.ok(lines.every(({ remote }) => remote === "127.0.0.1"));
    assert.doesNotMatch(text, /secret/);
    assert.equal(statSync(file).mode & 0o777, 0o600);
  } finally {
    await member.destroy();
  }
});

test("an audit log that cannot be opened ends the start with one line", async () => {
  const member = await TestMember.make("ringd", ["--audit-log", "/nowhere/audit.log"]);
  try {
    member.launch();
    assert.equal(await member.untilExit(), 1);
    assert.equal(
      member.log,
      'Cannot open --audit-log "/nowhere/audit.log": no such file or directory\n',
    );
  } finally {
    await member.destroy();
  }
});

test("an audit log whose disk is full is warned of and counted, and nothing else stops", async () => {
  const member = await TestMember.create("ringd", ["--audit-log", "/dev/full", ...FAST]);
  const { port } = member;
  try {
    await enable(port);
    assert.equal(await statusOf(port, { path: "/v2/auth/users" }), 401);
    await until("it is warned", 5000, () => /cannot write audit log/.test(member.log));
    const { body } = await call(port, { path: "/metrics" });
    assert.match(body.toString(), /^ringd_audit_failures_total [1-9]/m);
    assert.match(body.toString(), /^ringd_auth_enabled 1$/m);
    assert.match(body.toString(), /^ringd_auth_denied_total\{reason="permission"\} 1$/m);
  } finally {
    await member.destroy();
  }
});
