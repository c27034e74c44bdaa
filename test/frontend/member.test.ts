import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { request, send } from "../support/http.js";
import { TestMember } from "../support/member.js";
import { freePorts } from "../support/ports.js";
import { PLAIN_KINDS } from "./harness.js";
import { head, RawConnection } from "./raw.js";

const RINGD = new URL("../../bin/ringd.js", import.meta.url).pathname;

for (const kind of PLAIN_KINDS) {
  test(`${kind}: a member's responses to methods, CORS and odd targets`, async () => {
    const member = await TestMember.create("ringd", ["--frontend", kind]);
    try {
      const { port } = member;
      const cors = "POST, GET, OPTIONS, PUT, DELETE";
      const options = await send(port, "OPTIONS", "/v2/keys/a");
      assert.equal(options.status, 200);
      assert.equal(options.headers.get("access-control-allow-methods"), cors);
      assert.equal(options.headers.get("access-control-allow-origin"), "*");
      assert.equal(options.body.length, 0);
      assert.equal((await send(port, "OPTIONS", "/v2/keys/%zz")).status, 400);
      assert.equal((await send(port, "GET", "/v2/keys/%zz")).status, 400);

      const patch = await send(port, "PATCH", "/v2/keys/a");
      assert.equal(patch.status, 405);
      assert.equal(patch.headers.get("allow"), "HEAD,GET,PUT,POST,DELETE");
      assert.equal(patch.headers.get("access-control-allow-methods"), cors);

      assert.equal((await send(port, "PUT", "/v2/keys/a", "value=%00%ff%C3%A9")).status, 201);
      const got = await send(port, "GET", "/v2/keys/a");
      const asked = await request(port, { method: "HEAD", path: "/v2/keys/a" });
      assert.equal(asked.status, 200);
      assert.equal(asked.headers.get("content-length"), String(got.body.length));
      assert.equal(asked.headers.get("x-etcd-index"), got.headers.get("x-etcd-index"));
      assert.equal(JSON.parse(got.body.toString()).node.value, "\u0000\ufffdé");

      assert.equal((await send(port, "PUT", "/v2/keys/x%00y", "value=1")).status, 201);
      const odd = await send(port, "GET", "/v2/keys/x%00y");
      assert.equal(JSON.parse(odd.body.toString()).node.key, "/x\u0000y");

      const large = await send(port, "PUT", "/v2/keys/a", `value=${"v".repeat(10 * 1024 * 1024)}`);
      assert.equal(large.status, 400);
      assert.match(large.body.toString(), /"errorCode":210,.*POST too large/);
    } finally {
      await member.destroy();
    }
  });

  test(`${kind}: HEAD of a long listing sends its length and no body`, async () => {
    const member = await TestMember.create("ringd", ["--frontend", kind]);
    try {
      const { port } = member;
      for (const name of "abcdef") {
        await send(port, "PUT", `/v2/keys/l/${name}`, `value=${"v".repeat(100_000)}`);
      }
      const path = "/v2/keys/l?recursive=true";
      const { body } = await send(port, "GET", path);
      const connection = await RawConnection.open(port, head("HEAD", path));
      await connection.until(/\r\n\r\n/);
      connection.send(head("GET", "/v2/keys/none"));
      await connection.until(/Key not found.*\n$/);
      connection.close();
      const [first = "", second = ""] = connection.text.split("\r\n\r\n");
      assert.match(first, new RegExp(`Content-Length: ${body.length}(\\r|$)`));
      assert.match(second, /^HTTP\/1\.1 404 /);
    } finally {
      await member.destroy();
    }
  });

  test(`${kind}: clients get the open files left by the limit`, async () => {
    const few = await startWithFiles(150, kind);
    const [code] = (await once(few.child, "exit")) as [number];
    assert.equal(code, 1, few.log());
    assert.match(few.log(), /file descriptor limit\[150\] of ringd process is too low/);
    few.destroy();

    const some = await startWithFiles(170, kind);
    try {
      await some.ready();
      const clients = await Promise.all(
        Array.from({ length: 30 }, () => RawConnection.open(some.port)),
      );
      for (const client of clients) client.send(head("GET", "/version"));
      const served = await Promise.all(
        clients.map((client) =>
          client.until("etcdserver").then(
            () => true,
            () => false,
          ),
        ),
      );
      assert.equal(served.filter((isServed) => isServed).length, 20);
      for (const client of clients) client.close();
    } finally {
      some.destroy();
    }
  });
}

interface Limited {
  readonly child: ChildProcess;
  readonly port: number;
  log(): string;
  ready(): Promise<void>;
  destroy(): void;
}

/** Starts a member whose process may open that many files. */
async function startWithFiles(files: number, kind: string): Promise<Limited> {
  const [port = 0, peerPort] = await freePorts(2);
  const dir = mkdtempSync(join(tmpdir(), "ringd-test-"));
  const client = `http://127.0.0.1:${port}`;
  const peer = `http://127.0.0.1:${peerPort}`;
  const shell = `ulimit -n ${files} && exec "$@"`;
  const command = [process.execPath, RINGD, "--frontend", kind, "--data-dir", join(dir, "data")];
  command.push("--listen-client-urls", client, "--advertise-client-urls", client);
  command.push("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer);
  command.push("--initial-cluster", `default=${peer}`);
  const child = spawn("sh", ["-c", shell, "sh", ...command]);
  let log = "";
  let wake: () => void = () => undefined;
  const take = (text: Buffer) => {
    log += text.toString();
    wake();
  };
  child.stdout.on("data", take);
  child.stderr.on("data", take);
  child.on("exit", () => wake());
  return {
    child,
    port,
    log: () => log,
    ready: () =>
      new Promise((resolve, reject) => {
        wake = () => {
          if (log.includes("ready to serve client requests")) resolve();
          else if (child.exitCode !== null) reject(new Error(log));
        };
        wake();
      }),
    destroy: () => {
      child.kill("SIGKILL");
      rmSync(dir, { recursive: true, force: true });
    },
  };
}
