import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { open, send } from "../support/http.js";
import { TestMember } from "../support/member.js";
import { freePorts } from "../support/ports.js";
import { until } from "../support/until.js";

/** Debian's programs, unchanged, in front of a node listener, which they use HTTP/1.0 with. */

const NODE = ["--frontend", "node"];

/** @returns why a test is skipped */
function missing(program: string, flag: string): string | false {
  const { error } = spawnSync(program, [flag], { env: PATHS });
  return error === undefined ? false : `${program} is not installed`;
}

const PATHS = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` };

async function answers(port: number, path: string): Promise<boolean> {
  return (await send(port, "GET", path).catch(() => undefined))?.status === 200;
}

/** Runs `program` on a configuration until `run` is done. */
async function withProxy(
  program: string,
  args: (file: string) => string[],
  configuration: (dir: string) => string,
  run: () => Promise<void>,
): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), "ringd-test-"));
  mkdirSync(join(dir, "temp"));
  const file = join(dir, "proxy.conf");
  writeFileSync(file, configuration(dir));
  const proxy: ChildProcess = spawn(program, args(file), { env: PATHS, stdio: "ignore" });
  const ended = once(proxy, "exit");
  try {
    await run();
  } finally {
    proxy.kill("SIGTERM");
    await ended;
    rmSync(dir, { recursive: true, force: true });
  }
}

/** Keys, a large value, a listing of it and an event pass through. */
async function checkThrough(port: number): Promise<void> {
  assert.equal((await send(port, "PUT", "/v2/keys/a", "value=1")).status, 201);
  const large = "v".repeat(3_000_000);
  assert.equal((await send(port, "PUT", "/v2/keys/large", `value=${large}`)).status, 201);
  const got = await send(port, "GET", "/v2/keys/large");
  assert.equal(JSON.parse(got.body.toString()).node.value.length, large.length);
  const listing = await send(port, "GET", "/v2/keys/?recursive=true");
  assert.equal(JSON.parse(listing.body.toString()).node.nodes.length, 2);
  const path = "/v2/keys/a?wait=true&waitIndex=4";
  const watch = await open(port, { method: "GET", path });
  await watch.ended;
  assert.equal(JSON.parse(watch.body.toString()).node.value, "1");
}

test("HAProxy's httpchk finds a node listener up", { skip: missing("haproxy", "-v") }, async () => {
  const member = await TestMember.create("ringd", NODE);
  const [port, plain] = (await freePorts(2)) as [number, number];
  const configuration = `
global
  log stdout format raw local0 emerg
defaults
  mode http
  timeout connect 5s
  timeout check 5s
  timeout client 60s
  timeout server 60s
  default-server check inter 100ms rise 1 fall 1
listen health
  bind 127.0.0.1:${port}
  option httpchk GET /health
  server one 127.0.0.1:${member.port}
listen options
  bind 127.0.0.1:${plain}
  option httpchk
  server one 127.0.0.1:${member.port}
`;
  try {
    await withProxy(
      "haproxy",
      (file) => ["-db", "-f", file],
      () => configuration,
      async () => {
        await until("HAProxy serves", 20_000, () => answers(port, "/health"));
        await until("HAProxy serves", 20_000, () => answers(plain, "/health"));
        await checkThrough(port);
      },
    );
  } finally {
    await member.destroy();
  }
});

test("nginx's proxy_pass serves a node listener", { skip: missing("nginx", "-v") }, async () => {
  const member = await TestMember.create("ringd", NODE);
  const [port] = (await freePorts(1)) as [number];
  const temp = "client_body fastcgi proxy scgi uwsgi".split(" ");
  const configuration = (dir: string) => `
daemon off;
${process.getuid?.() === 0 ? "user root;" : ""} # Else its workers may not write below.
pid ${dir}/pid;
error_log ${dir}/error.log;
events {}
http {
  access_log off;
  client_max_body_size 20m;
  ${temp.map((kind) => `${kind}_temp_path ${dir}/temp/${kind};`).join(" ")}
  server {
    listen 127.0.0.1:${port};
    location / { proxy_pass http://127.0.0.1:${member.port}; }
  }
}
`;
  try {
    await withProxy(
      "nginx",
      (file) => ["-c", file],
      configuration,
      async () => {
        await until("nginx serves", 20_000, () => answers(port, "/health"));
        await checkThrough(port);
      },
    );
  } finally {
    await member.destroy();
  }
});

const PROBES: readonly (readonly [program: string, args: readonly string[]])[] = [
  ["busybox", ["nc", "127.0.0.1"]],
  ["nc", ["-N", "127.0.0.1"]],
];

for (const [program, args] of PROBES) {
  const skip = missing(program, program === "nc" ? "-h" : "--help");
  test(`printf | ${program} ${args[0]} gets its response`, { skip }, async () => {
    const member = await TestMember.create("ringd", NODE);
    try {
      for (const input of ["GET /health HTTP/1.0\r\n\r\n", "GET /health HTTP/1.1\nHost: a\n\n"]) {
        const probe = spawn(program, [...args, String(member.port)], { stdio: "pipe" });
        let output = "";
        probe.stdout.on("data", (text: Buffer) => {
          output += text.toString();
        });
        const ended = once(probe, "close");
        probe.stdin.end(input);
        await ended;
        assert.match(output, /^HTTP\/1\.[01] 200 OK\r\n[\s\S]*\{"health":"true"\}$/);
      }
    } finally {
      await member.destroy();
    }
  });
}
