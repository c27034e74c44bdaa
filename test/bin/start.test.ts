import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { send } from "../support/http.js";
import { TestMember } from "../support/member.js";
import { until } from "../support/until.js";

const RINGD = new URL("../../bin/ringd.js", import.meta.url).pathname;

/** Without data of an earlier start, as `npm start` leaves them where it runs. */
const cwd = mkdtempSync(join(tmpdir(), "ringd-test-"));
after(() => rmSync(cwd, { recursive: true }));

function run(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [RINGD, ...args], {
    encoding: "utf8",
    timeout: 20_000,
    cwd,
  });
  return { status, stdout, stderr };
}

/** For a start that binds its ports before it fails: the defaults may be in use. */
const ANY_PORTS = [
  ...[
    "--listen-client-urls",
    "http://127.0.0.1:0",
    "--advertise-client-urls",
    "http://localhost:1",
  ],
  ...["--listen-peer-urls", "http://127.0.0.1:0"],
];
const REFUSED: readonly [args: string[], status: number, says: RegExp][] = [
  [["--nope"], 2, /^flag provided but not defined: -nope\nUsage:/],
  [["--heartbeat-interval", "abc"], 2, /^invalid value "abc" for flag -heartbeat-interval/],
  [["stray"], 1, /^error verifying flags, 'stray' is not a valid flag/],
  [["--election-timeout", "400"], 1, /should be at least as 5 times as --heartbeat-interval/],
  [["--election-timeout", "60000"], 1, /is too long/],
  [["--listen-client-urls", "http://127.0.0.1:0"], 1, /--advertise-client-urls is required/],
  [
    ["--initial-cluster", "other=http://localhost:2380", ...ANY_PORTS],
    1,
    /couldn't find local name "default"/,
  ],
  [["--proxy", "maybe"], 2, /invalid value "maybe" for flag -proxy: it is one of/],
  [["--listen-metrics-urls", "https://127.0.0.1:0"], 1, /must be provided for metrics url https/],
  [["--discovery", "disc/t"], 1, /--discovery=disc\/t is not an http or https URL/],
  [["--frontend-threads", "2", "--frontend", "node"], 1, /--frontend-threads needs --frontend=uws/],
  [["--peers", "x"], 1, /flag "-peers" is no longer supported/],
];

for (const [args, status, says] of REFUSED) {
  test(`${args.join(" ")}: exit ${status} and why`, () => {
    const result = run(...args);
    assert.equal(result.status, status, result.stderr);
    assert.match(result.stderr, says);
  });
}

test("--version begins as etcd's does, --help shows flags; both exit 0", () => {
  const version = run("--version");
  assert.equal(version.status, 0);
  assert.match(
    version.stdout,
    /^etcd Version: 3\.4\.\d+\nGit SHA: .*\nGo Version: .*\nGo OS\/Arch: /,
  );
  const help = run("-h");
  assert.equal(help.status, 0);
  assert.match(help.stdout, /--snapshot-count '100000'/);
});

test("SIGTERM ends watches, finishes and exits 0; everything is there after a restart", async () => {
  const member = await TestMember.create("ringd", ["--snapshot-count", "50"]);
  try {
    for (let n = 0; n < 120; n++) await send(member.port, "PUT", `/v2/keys/k${n}`, `value=${n}`);
    await send(member.port, "PUT", "/v2/keys/ttl?ttl=1000", "value=x");
    const before = await send(member.port, "GET", "/v2/keys/?recursive=true");
    const statsBefore = await send(member.port, "GET", "/v2/stats/store");
    assert.equal(await member.end("SIGTERM"), 0);
    await member.start();
    const after = await send(member.port, "GET", "/v2/keys/?recursive=true");
    const mask = (body: Buffer) => body.toString().replace(/"ttl":\d+/, '"ttl":n');
    assert.equal(mask(after.body), mask(before.body));
    const sets = (body: Buffer) => JSON.parse(body.toString()).setsSuccess;
    const statsAfter = await send(member.port, "GET", "/v2/stats/store");
    assert.equal(sets(statsAfter.body), sets(statsBefore.body) + 1, "it published itself again");
    const history = await send(member.port, "GET", "/v2/keys/k7?wait=true&waitIndex=4");
    assert.equal(JSON.parse(history.body.toString()).node.value, "7");
  } finally {
    await member.destroy();
  }
});

test("a port in use and a data directory in use: one line each, exit 1", async () => {
  const member = await TestMember.create("ringd");
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  try {
    const free = [
      "--listen-peer-urls",
      "http://127.0.0.1:0",
      "--listen-client-urls",
      "http://127.0.0.1:0",
      "--advertise-client-urls",
      "http://a:1",
    ];
    const locked = run("--data-dir", member.dataDir, ...free);
    assert.equal(locked.status, 1);
    assert.match(locked.stderr, /cannot lock data dir/);
    const address = server.address();
    const port = typeof address === "object" && address !== null ? address.port : 0;
    const used = `http://127.0.0.1:${port}`;
    const dataDir = join(member.dataDir, "..", "other");
    const args = ["--listen-client-urls", used, "--advertise-client-urls", used];
    args.push("--listen-peer-urls", "http://127.0.0.1:0");
    const busy = run("--data-dir", dataDir, ...args);
    assert.equal(busy.status, 1);
    assert.match(busy.stderr, new RegExp(`Cannot listen on 127.0.0.1:${port}`));
    const blocked = join(member.dataDir, "..", "file");
    mkdirSync(join(blocked, ".."), { recursive: true });
    writeFileSync(blocked, "");
    const unusable = run("--data-dir", blocked, ...free);
    assert.equal(unusable.status, 1);
  } finally {
    server.close();
    await member.destroy();
  }
});

test("the lines that supervisors wait for are logged once clients are served, not before", async () => {
  const member = await TestMember.create("ringd");
  try {
    const lines = [
      /serving insecure client requests on 127\.0\.0\.1:\d+/,
      /published {Name:default ClientURLs:\[http:\/\/127\.0\.0\.1:\d+\]} to cluster [0-9a-f]+/,
      /enabled capabilities for version 3\.4/,
      /ready to serve client requests/,
    ];
    const places = lines.map((line) => member.log.search(line));
    assert.ok(!places.includes(-1), member.log);
    assert.deepEqual(
      places,
      places.toSorted((a, b) => a - b),
      member.log,
    );
  } finally {
    await member.destroy();
  }
});

test("the node frontend gives the same responses", async () => {
  const member = await TestMember.create("ringd", ["--frontend", "node"]);
  try {
    const put = await send(member.port, "PUT", "/v2/keys/a", "value=1");
    assert.equal(put.status, 201);
    assert.equal(put.headers.get("x-etcd-index"), "4");
    const got = await send(member.port, "GET", "/v2/keys/a");
    assert.equal(
      got.body.toString(),
      '{"action":"get","node":{"key":"/a","value":"1","modifiedIndex":4,"createdIndex":4}}\n',
    );
  } finally {
    await member.destroy();
  }
});

test("SIGHUP reopens log files and ends nothing", async () => {
  const dir = mkdtempSync(join(tmpdir(), "ringd-hup-"));
  const file = join(dir, "ringd.log");
  const member = await TestMember.create("ringd", ["--log-outputs", `stderr,${file}`]);
  try {
    renameSync(file, `${file}.1`);
    process.kill(member.pid, "SIGHUP");
    await until("the log goes on in a new file", 10_000, () => existsSync(file));
    assert.match(readFileSync(file, "utf8"), /received signal SIGHUP; log files are opened again/);
    assert.equal((await send(member.port, "PUT", "/v2/keys/a", "value=1")).status, 201);
    assert.equal(await member.end("SIGTERM"), 0);
  } finally {
    await member.destroy();
    rmSync(dir, { recursive: true });
  }
});
