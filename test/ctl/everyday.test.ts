import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { untilOwnWritesDone } from "../compat/own-writes.js";
import { TestMember } from "../support/member.js";
import { freePorts } from "../support/ports.js";
import { cleanEnv, type Outcome, RINGCTL } from "./run.js";

/** Commands from tutorials, run by a shell with ringctl instead of etcdctl. */

let member: TestMember;
const folder = mkdtempSync(join(tmpdir(), "ringctl-everyday-"));
before(async () => {
  member = await TestMember.create("ringd");
  await untilOwnWritesDone(member.clientUrl);
});
after(async () => {
  await member.destroy();
  rmSync(folder, { recursive: true });
});

/** @param script `$CTL` is ringctl, `$E` the server's URL, also set by variables */
async function shell(script: string, env: Readonly<Record<string, string>> = {}): Promise<Outcome> {
  const child = spawn("bash", ["-c", script], {
    cwd: folder,
    env: cleanEnv({
      CTL: `${process.execPath} ${RINGCTL}`,
      E: member.clientUrl,
      ETCDCTL_ENDPOINTS: member.clientUrl,
      ...env,
    }),
  });
  let out = "";
  let err = "";
  child.stdout.on("data", (text) => {
    out += text;
  });
  child.stderr.on("data", (text) => {
    err += text;
  });
  const [code] = (await once(child, "close")) as [number | null];
  return { code, out, err };
}

async function says(
  script: string,
  out: string | RegExp,
  err: string | RegExp = "",
): Promise<void> {
  const outcome = await shell(script);
  const check = (text: string, wanted: string | RegExp) =>
    typeof wanted === "string"
      ? assert.equal(text, wanted, script)
      : assert.match(text, wanted, script);
  check(outcome.out, out);
  check(outcome.err, err);
}

test("keys and directories", async () => {
  await says("$CTL set /message Hello", "Hello\n");
  await says("$CTL get /message", "Hello\n");
  await says("$CTL get /two; echo $?", "4\n", "Error:  100: Key not found (/two) [4]\n");
  await says('$CTL set /foo "x" --ttl 20', "x\n");
  await says("$CTL rm /message", "PrevNode.Value: Hello\n");
  await says("$CTL mkdir /foo-data && $CTL set /foo-data/dir/Book b", "b\n");
  await says("$CTL ls /foo-data --recursive", "/foo-data/dir\n/foo-data/dir/Book\n");
  await says("$CTL ls", "/foo\n/foo-data\n");
  await says("$CTL ls -p --sort", "/foo\n/foo-data/\n");
  await says("$CTL rm --recursive /foo-data/dir; $CTL rmdir /foo-data; $CTL ls", "/foo\n");
  await says("$CTL mk --in-order /q v", "v\n");
  await says("$CTL mk /m v && $CTL update /m w && $CTL setdir /s && $CTL updatedir /s", "v\nw\n");
  await says("$CTL set /k v1 && $CTL set /k v2 --swap-with-value v1", "v1\nv2\n");
  await says("$CTL rm /k --with-value v2", "\n");
  await says(
    "$CTL -o extended get /m",
    /^Key: \/m\nCreated-Index: \d+\nModified-Index: \d+\nTTL: 0\nIndex: \d+\n\nw\n$/,
  );
  await says(
    "$CTL -o json get /m",
    /^\{"action":"get","node":\{"key":"\/m","value":"w","nodes":null/,
  );
  await says("echo v > f; $CTL set /k < f", "v\n\n");
  await says("$CTL set -- /k -5", "-5\n");
});

test("watches", async () => {
  await says(
    "$CTL set /d/Book b >/dev/null; $CTL watch /d --recursive --after-index 3",
    "[set] /d/Book\nb\n",
  );
  await says(
    "touch log; $CTL watch --forever --after-index 3 /d/Book > log & until grep -q b log; do sleep 0.1; done; kill -INT $!; wait $!; echo $?; cat log",
    "0\nb\n",
  );
  await says(
    "touch log; $CTL exec-watch --recursive --after-index 3 /d -- env > log & until grep -q VALUE log; do sleep 0.1; done; kill -INT $!; wait $!; grep ^ETCD_WATCH_[AKV] log | sort",
    "ETCD_WATCH_ACTION=set\nETCD_WATCH_KEY=/d/Book\nETCD_WATCH_VALUE=b\n",
  );
});

test("the cluster", async () => {
  const health =
    /^member [0-9a-f]+ is healthy: got healthy result from http:\S+\ncluster is healthy\n0\n$/;
  await says("$CTL cluster-health; echo $?", health);
  await says(
    "$CTL member list",
    /^[0-9a-f]+: name=default peerURLs=\S+ clientURLs=\S+ isLeader=true\n$/,
  );
  await says(
    "$CTL member remove none; echo $?",
    "1\n",
    "Couldn't find a member in the cluster with an ID of none.\n",
  );
  await says("$CTL member update 1 x; echo $?", "1\n", /^URL scheme must be http/);
});

test("ways to name the server", async () => {
  for (const line of [
    "ETCDCTL_ENDPOINTS= ETCDCTL_ENDPOINT=$E $CTL get /m",
    "ETCDCTL_ENDPOINTS= ETCDCTL_PEERS=$E $CTL get /m",
    "RINGCTL_ENDPOINTS=$E ETCDCTL_ENDPOINTS=http://127.0.0.1:1 $CTL get /m",
    "ETCDCTL_ENDPOINTS= $CTL --peers $E get /m",
    "ETCDCTL_ENDPOINTS= $CTL -C $E get /m",
    "ETCDCTL_ENDPOINTS= $CTL --no-sync --endpoint $E get /m",
    "$CTL -u root:p get /m",
  ]) {
    await says(line, "w\n");
  }
  await says(
    "$CTL --debug get /m",
    "w\n",
    /cURL Command: curl -X GET http:\S+\/v2\/keys\/m\?quorum=false/,
  );
  await says("$CTL --discovery-srv none.invalid ls; echo $?", "1\n", /^dns lookup errors: /);
});

test("users and roles", async () => {
  const own = await TestMember.create("ringd");
  try {
    const script = `set -e
$CTL user add root:p; $CTL user list; $CTL role add r; $CTL role grant r --path '/a/*' --read
$CTL user add bob:b; $CTL user grant bob --roles r; $CTL auth enable
$CTL -u root:p role revoke guest --path '/*' --rw; $CTL -u root:p set /a/k 1; $CTL -u bob:b get /a/k
! $CTL -u bob:b set /a/k 2; $CTL -u root:p auth disable`;
    const { out, err, code } = await shell(script, { ETCDCTL_ENDPOINTS: own.clientUrl });
    const lines = ["User root created", "root", "Role r created", "Role r updated"];
    lines.push("User bob created", "User bob updated", "Authentication Enabled");
    lines.push("Role guest updated", "1", "1", "Authentication Disabled");
    assert.equal(out, `${lines.join("\n")}\n`);
    assert.equal(
      err,
      "Error:  110: The request requires user authentication (Insufficient credentials) [0]\n",
    );
    assert.equal(code, 0);
  } finally {
    await own.destroy();
  }
});

test("a backup of a running member starts with --force-new-cluster", async () => {
  const backup = join(folder, "backup");
  const made = await shell(`$CTL backup --data-dir ${member.dataDir} --backup-dir ${backup}`);
  assert.deepEqual([made.code, made.err], [0, ""]);
  assert.match(made.out, /^backed up to .*\n {2}etcd index +\d+ \(Raft index \d+, term \d+\)\n/);
  const again = await shell(`$CTL backup --data-dir ${member.dataDir} --backup-dir ${backup}`);
  assert.equal(again.code, 1);
  assert.match(again.err, /is not empty\n$/);
  assert.match(
    (await shell("$CTL backup --data-dir none --backup-dir b2")).err,
    /no such directory/,
  );
  assert.match((await shell("$CTL backup --backup-dir b2")).err, /--data-dir is needed/);
  const [port, peerPort] = await freePorts(2);
  const ringd = new URL("../../bin/ringd.js", import.meta.url).pathname;
  const url = `http://127.0.0.1:${port}`;
  const restored = spawn(process.execPath, [
    ...[ringd, "--data-dir", backup, "--force-new-cluster", "--listen-client-urls", url],
    ...["--advertise-client-urls", url, "--listen-peer-urls", `http://127.0.0.1:${peerPort}`],
    ...["--initial-advertise-peer-urls", `http://127.0.0.1:${peerPort}`],
    ...["--initial-cluster", `default=http://127.0.0.1:${peerPort}`],
  ]);
  try {
    let log = "";
    await new Promise<void>((resolve, reject) => {
      const look = (text: Buffer) => {
        log += text;
        if (log.includes("ready to serve client requests")) resolve();
      };
      restored.stdout.on("data", look);
      restored.stderr.on("data", look);
      restored.once("exit", () => reject(new Error(log)));
    });
    const env = { ETCDCTL_ENDPOINTS: url };
    const [before, after] = await Promise.all([
      shell("$CTL ls --recursive --sort"),
      shell("$CTL ls --recursive --sort", env),
    ]);
    assert.deepEqual(after, before);
    const idOf = (text: string) => text.split(":", 1)[0];
    const members = await Promise.all([shell("$CTL member list"), shell("$CTL member list", env)]);
    assert.notEqual(idOf(members[0].out), idOf(members[1].out));
  } finally {
    restored.kill("SIGKILL");
    await once(restored, "close");
  }
});
