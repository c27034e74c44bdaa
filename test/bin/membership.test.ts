import assert from "node:assert/strict";
import { once } from "node:events";
import { existsSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { request, send } from "../support/http.js";
import { TestMember } from "../support/member.js";
import { until } from "../support/until.js";

/** A second member from joining to removal and loss. The tests depend on the ones before. */

const UNTIL_MS = 30_000;

let first: TestMember;
let second: TestMember;
/** Flags of the joining member, as etcdctl prints them after `member add`. */
let joining: readonly string[];

before(async () => {
  first = await TestMember.create("ringd");
  second = await TestMember.make("ringd", ["--name", "second"]);
  const cluster = `default=${first.peerUrl},second=${second.peerUrl}`;
  joining = ["--initial-cluster", cluster, "--initial-cluster-state", "existing"];
});

after(async () => {
  await Promise.all([first, second].map((member) => member.destroy()));
});

/**
 * Repeats the change until it succeeds: the first member rejects it while the others have not been
 * connected for long enough.
 */
async function change(method: string, path: string, peerUrl?: string): Promise<string> {
  let shown = "";
  let body = "";
  await until(
    () => shown,
    UNTIL_MS,
    async () => {
      const answer = await request(first.port, {
        method,
        path,
        headers: { "Content-Type": "application/json" },
        ...(peerUrl === undefined ? {} : { body: JSON.stringify({ peerURLs: [peerUrl] }) }),
      });
      body = answer.body.toString();
      shown = `${method} ${path}: ${answer.status} ${body}`;
      assert.ok(answer.status < 300 || answer.status === 500, shown);
      return answer.status < 300;
    },
  );
  return body;
}

async function membersSeenBy(member: TestMember): Promise<{ id: string; name: string }[]> {
  const { body } = await send(member.port, "GET", "/v2/members");
  return JSON.parse(body.toString()).members;
}

async function valueAt(member: TestMember, path: string): Promise<string> {
  const { body } = await send(member.port, "GET", `/v2/keys${path}?quorum=true`);
  return JSON.parse(body.toString()).node?.value;
}

test("a member that was not added cannot join; one line says why", async () => {
  const child = second.launch(joining);
  const [code] = await once(child, "close");
  assert.equal(code, 1);
  assert.match(
    second.log,
    /^error validating peerURLs \{ClusterID:.*\}: member count is unequal$/m,
  );
  assert.ok(!existsSync(second.dataDir), "it has left nothing behind");
});

test("an added member that has not started yet does not block writes", async () => {
  await change("POST", "/v2/members", second.peerUrl);
  const put = await send(first.port, "PUT", "/v2/keys/a", "value=1");
  assert.equal(put.status, 201, put.body.toString());
  const members = await membersSeenBy(first);
  assert.deepEqual(members.map(({ name }) => name).sort(), ["", "default"]);
});

test("an interrupted start continues without the flags, and catches up", async () => {
  const child = second.launch(joining);
  const walDir = join(second.dataDir, "member", "wal");
  const hasLog = () => {
    assert.equal(child.exitCode, null, second.log);
    return existsSync(walDir) && readdirSync(walDir).some((name) => name.endsWith(".wal"));
  };
  await until("there is a log", UNTIL_MS, hasLog, 1);
  await second.end("SIGKILL");
  await second.start();
  assert.equal(await valueAt(second, "/a"), "1");
  await send(second.port, "PUT", "/v2/keys/b", "value=2");
  assert.equal(await valueAt(first, "/b"), "2");
});

test("a member that is removed stops by itself, and again when it is started again", async () => {
  const id = (await membersSeenBy(first)).find(({ name }) => name === "second")?.id;
  const ended = second.untilExit();
  await change("DELETE", `/v2/members/${id}`);
  assert.equal(await ended, 0, second.log);
  const [code] = await once(second.launch(), "close");
  assert.equal(code, 0, second.log);
  assert.match(second.log, /this member was removed from the cluster/);
});

test("a member whose data was lost cannot start before it is added again", async () => {
  rmSync(second.dataDir, { recursive: true });
  await change("POST", "/v2/members", second.peerUrl);
  await second.start(joining);
  await second.end("SIGKILL");
  rmSync(second.dataDir, { recursive: true });
  const [code] = await once(second.launch(joining), "close");
  assert.equal(code, 1);
  assert.match(second.log, /has already been bootstrapped and its data is gone/);
});

test("--force-new-cluster: the survivor continues alone with all its data, and grows again", async () => {
  await first.end("SIGKILL");
  await first.start(["--force-new-cluster"]);
  assert.deepEqual(
    (await membersSeenBy(first)).map(({ name }) => name),
    ["default"],
  );
  assert.equal(await valueAt(first, "/a"), "1");
  await send(first.port, "PUT", "/v2/keys/c", "value=3");
  await first.restart();
  assert.equal(await valueAt(first, "/c"), "3");
  await change("POST", "/v2/members", second.peerUrl);
  await second.start(joining);
  assert.equal(await valueAt(second, "/c"), "3");
});
