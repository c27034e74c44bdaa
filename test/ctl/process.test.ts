import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { text as readAll } from "node:stream/consumers";
import { after, before, test } from "node:test";
import { send } from "../support/http.js";
import { TestMember } from "../support/member.js";
import { cleanEnv, type Outcome, RINGCTL, ringctl, run } from "./run.js";

/** Signals, pipes, terminals: behaviour that needs a real process. */

let member: TestMember;
before(async () => {
  member = await TestMember.create("ringd");
  for (const n of [1, 2, 3]) await send(member.port, "PUT", "/v2/keys/w/k", `value=${n}`);
});
after(() => member.destroy());

const WATCH_ALL = ["--recursive", "--after-index", "1", "/w"];

test("Ctrl-C ends a watch with exit code 0", async () => {
  const watch = start(["watch", "--forever", ...WATCH_ALL]);
  await untilPrinted(watch, "[set] /w/k\n3\n");
  watch.kill("SIGINT");
  assert.deepEqual(await once(watch, "close"), [0, null]);
});

test("Ctrl-C in exec-watch ends the commands it started", async () => {
  const script =
    'echo "started $ETCD_WATCH_ACTION $ETCD_WATCH_KEY $ETCD_WATCH_VALUE"; exec sleep 1000';
  const watch = start(["exec-watch", ...WATCH_ALL, "--", "sh", "-c", script]);
  await untilPrinted(watch, /(?:^started set \/w\/k \d\n){3}/m);
  watch.kill("SIGINT");
  // Its output is closed when its commands have exited, too.
  assert.deepEqual(await once(watch, "close"), [0, null]);
});

test("exec-watch takes KEY -- COMMAND without a flag before it", async () => {
  const watch = start(["exec-watch", "/w/k", "--after-index", "1", "--", "echo", "seen"]);
  await untilPrinted(watch, "seen\n");
  watch.kill("SIGINT");
  assert.deepEqual(await once(watch, "close"), [0, null]);
});

test("it exits silently when the reader of its pipe is gone", async () => {
  const watch = start(["watch", "--forever", ...WATCH_ALL]);
  let err = "";
  watch.stderr?.on("data", (text) => {
    err += text;
  });
  await untilPrinted(watch, "[set] /w/k\n3\n");
  watch.stdout?.destroy();
  const ended = once(watch, "exit");
  await send(member.port, "PUT", "/v2/keys/w/k", "value=4");
  // The first event may still have been buffered by the pipe.
  await send(member.port, "PUT", "/v2/keys/w/k", "value=5");
  assert.deepEqual(await ended, [141, null]);
  assert.equal(err, "");
});

test("a password prompt on a terminal does not echo", async () => {
  const command = `'${process.execPath}' '${RINGCTL}' --endpoints ${member.clientUrl} -u root get /w/k`;
  const terminal = spawn("script", ["-qec", command, "/dev/null"], { env: cleanEnv() });
  const text = untilPrinted(terminal, /Password: [\s\S]*\d\r?\n/);
  await untilPrinted(terminal, "Password: ");
  terminal.stdin.write("sesam\u007fe\r");
  assert.doesNotMatch(await text, /sesa/);
  assert.deepEqual(await once(terminal, "close"), [0, null]);
});

test("nothing is coloured without a terminal", async () => {
  const env = { RINGCTL_ENDPOINTS: member.clientUrl };
  const { code, out, err } = await ringctl(["top", "-n", "1", "--interval", "100ms"], { env });
  assert.equal(code, 0);
  assert.equal(err, "");
  assert.match(
    out,
    /^MEMBER +NAME +ROLE +TERM +INDEX +LAG +REQ\/S +FSYNC P99\n[0-9a-f]+ +default +leader +\d+ +\d+ +0 +\d+ +\S.*\n$/,
  );
});

test("a get neither loads TLS nor opens a second connection", async () => {
  let connections = 0;
  const server = createServer((request, response) => {
    const isList = request.url === "/v2/members";
    const { port } = server.address() as AddressInfo;
    const members = [{ clientURLs: [`http://127.0.0.1:${port}`] }];
    response.end(JSON.stringify(isList ? { members } : { action: "get", node: { value: "v" } }));
  });
  server.on("connection", () => connections++);
  await once(server.listen(0, "127.0.0.1"), "listening");
  const { port } = server.address() as AddressInfo;
  const loaded = "process.once('exit', () => console.error(process.moduleLoadList.join('\\n')))";
  const preload = ["--import", `data:text/javascript,${encodeURIComponent(loaded)}`];
  const words = ["--endpoints", `http://127.0.0.1:${port}`, "get", "/k"];
  const child = spawn(process.execPath, [...preload, RINGCTL, ...words], { env: cleanEnv() });
  const [out, err] = await Promise.all([readAll(child.stdout), readAll(child.stderr)]);
  server.close();
  assert.equal(out, "v\n");
  assert.match(err, /^NativeModule net$/m);
  assert.doesNotMatch(err, /^NativeModule (http2|tls|crypto)$/m);
  assert.equal(connections, 1);
});

/** Prints more than a pipe can buffer. */
async function listMuch(reader: string): Promise<Outcome> {
  const key = "k".repeat(2000);
  for (let n = 0; n < 100; n++)
    await send(member.port, "PUT", `/v2/keys/long/${key}${n}`, "value=");
  const list = `'${process.execPath}' '${RINGCTL}' --endpoints ${member.clientUrl} ls /long`;
  // A pipe made by the shell: Node.js gives its children sockets.
  const script = `{ ${list}; echo "exit code $?" >&2; } | { ${reader}; }`;
  return await run("bash", ["-c", script], {});
}

test("a listing exits silently when its reader stops early", async () => {
  const { out, err } = await listMuch("head -c 9");
  assert.deepEqual({ out, err }, { out: "/long/kkk", err: "exit code 141\n" });
});

test("a listing is complete when its reader is slow", async () => {
  const { out, err } = await listMuch("sleep 1; wc -l");
  assert.deepEqual({ out, err }, { out: "100\n", err: "exit code 0\n" });
});

test("an unexpected response prints one line, not a stack trace", async () => {
  const env = { RINGCTL_ENDPOINTS: `${member.clientUrl}/nothing/here` };
  for (const args of [["member", "list"], ["user", "list"], ["top"], ["dump"], ["bench"], ["ls"]]) {
    const { code, err } = await ringctl(args, { env });
    assert.notEqual(code, 0, args.join(" "));
    assert.doesNotMatch(err, /\n {4}at |node:internal/, args.join(" "));
    assert.match(err, /\S/, args.join(" "));
  }
});

function start(args: readonly string[]): ChildProcess {
  return spawn(process.execPath, [RINGCTL, "--endpoints", member.clientUrl, ...args], {
    env: cleanEnv(),
    stdio: ["ignore", "pipe", "pipe"],
  });
}

/** @returns all output until then */
async function untilPrinted(child: ChildProcess, wanted: string | RegExp): Promise<string> {
  let text = "";
  return await new Promise((resolve, reject) => {
    child.stdout?.on("data", (chunk) => {
      text += chunk;
      if (typeof wanted === "string" ? text.includes(wanted) : wanted.test(text)) resolve(text);
    });
    child.once("close", (code) => reject(new Error(`ended with ${code}: ${text}`)));
  });
}
