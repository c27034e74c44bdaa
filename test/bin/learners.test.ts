import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { type ApiError, Client } from "#ringd/client/index.js";
import { FORMAT_LEVEL } from "#ringd/cluster/format.js";
import { ringctl } from "../ctl/run.js";
import { request, send } from "../support/http.js";
import { TestMember } from "../support/member.js";
import { until } from "../support/until.js";

/** A learner beside a single voter, from its addition to its promotion, with real processes. */

const UNTIL_MS = 30_000;
/** A transfer of leadership has as long, and the machine may be busy. */
const PATIENT = ["--election-timeout", "3000"];

let voter: TestMember;
let learner: TestMember;
let id = "";

before(async () => {
  voter = await TestMember.create("ringd", PATIENT);
  const flags = ["--name", "watcher", "--frontend", "node", ...PATIENT];
  learner = await TestMember.make("ringd", flags);
});
after(async () => {
  await Promise.all([voter, learner].map((member) => member.destroy()));
});

interface Shown {
  readonly id: string;
  readonly name: string;
  readonly isLearner?: boolean;
}

async function membersSeenBy(member: TestMember): Promise<Shown[]> {
  const { body } = await send(member.port, "GET", "/v2/members");
  return JSON.parse(body.toString()).members;
}

async function learnersSeenBy(member: TestMember): Promise<string[]> {
  return (await membersSeenBy(member))
    .filter(({ isLearner }) => isLearner !== undefined)
    .map((shown) => `${shown.name} ${shown.isLearner}`);
}

async function promote(asked: TestMember, which: string): Promise<string> {
  const path = `/v2/members/${which}/promote`;
  const { status, body } = await request(asked.port, { method: "POST", path });
  return `${status} ${body.toString().trim()}`;
}

function run(...args: readonly string[]) {
  return ringctl(args, { env: { RINGCTL_ENDPOINTS: voter.clientUrl } });
}

async function levelIs(level: number): Promise<void> {
  await until(`the format is ${level}`, UNTIL_MS, async () => {
    const { body } = await send(voter.port, "GET", "/metrics");
    return body.toString().includes(`\nringd_format_level ${level}\n`);
  });
}

const NOT_READY =
  '412 {"message":"etcdserver: can only promote a learner member which is in sync with leader"}';
const NO_LEARNER = '412 {"message":"etcdserver: can only promote a learner member"}';

test("a learner that was added stays one, which all tools show", async () => {
  await levelIs(FORMAT_LEVEL);
  const added = await run("member", "add", "--learner", "watcher", learner.peerUrl);
  assert.equal(added.err, "");
  const first = /^Added member named watcher with ID ([0-9a-f]+) to cluster as a learner$/m;
  id = first.exec(added.out)?.[1] ?? assert.fail(added.out);
  assert.match(added.out, /^ETCD_INITIAL_CLUSTER=".*watcher=http.*"$/m);
  assert.deepEqual(await learnersSeenBy(voter), [" true"]);
  assert.equal(await promote(voter, id), NOT_READY);
  const put = await send(voter.port, "PUT", "/v2/keys/a", "value=1");
  assert.equal(put.status, 201, "a learner that is not there blocks nothing");
  const list = await run("member", "list");
  assert.ok(list.out.includes(`${id}[unstarted]: peerURLs=${learner.peerUrl} isLearner=true\n`));
});

test("it follows, answers clients, and has no vote", async () => {
  const cluster = `default=${voter.peerUrl},watcher=${learner.peerUrl}`;
  await learner.start(["--initial-cluster", cluster, "--initial-cluster-state", "existing"]);
  const put = await send(learner.port, "PUT", "/v2/keys/b", "value=2");
  assert.equal(put.status, 201, put.body.toString());
  for (const member of [voter, learner]) {
    const got = await send(member.port, "GET", "/v2/keys/b?quorum=true");
    assert.equal(JSON.parse(got.body.toString()).node.value, "2");
    assert.deepEqual(await learnersSeenBy(member), ["watcher true"]);
  }
  const metrics = await send(learner.port, "GET", "/metrics");
  assert.match(metrics.body.toString(), /^etcd_server_is_learner 1$/m);
  const list = await run("member", "list");
  assert.match(list.out, new RegExp(`^${id}: name=watcher .* isLeader=false isLearner=true$`, "m"));
  const moved = await run("move-leader", "watcher");
  assert.equal(moved.code, 1);
  assert.match(moved.err, /^etcdserver: bad leader transferee: member [0-9a-f]+ is a learner\n$/);
  await learner.end("SIGKILL");
  const alone = await send(voter.port, "PUT", "/v2/keys/c", "value=3");
  assert.equal(alone.status, 201, "the voter alone is a majority");
});

test("it stays a learner over restarts, also from a snapshot", async () => {
  await voter.end("SIGTERM");
  await voter.start(["--snapshot-count", "5"]);
  for (let n = 0; n < 20; n++) await send(voter.port, "PUT", "/v2/keys/d", `value=${n}`);
  await until("there is a snapshot", UNTIL_MS, () => voter.log.includes("saved snapshot"));
  await voter.end("SIGKILL");
  await voter.start(["--snapshot-count", "5"]);
  assert.deepEqual(await learnersSeenBy(voter), ["watcher true"]);
  assert.equal(await promote(voter, id), NOT_READY);
  await learner.start();
  assert.deepEqual(await learnersSeenBy(learner), ["watcher true"]);
});

test("a promotion is asked for at any member, and of a learner only", async () => {
  const own = (await membersSeenBy(voter)).find(({ name }) => name === "default")?.id ?? "";
  for (const member of [voter, learner]) {
    assert.equal(await promote(member, own), NO_LEARNER);
    assert.equal(await promote(member, "abc"), '404 {"message":"No such member: abc"}');
    assert.equal(await promote(member, "x"), '404 {"message":"No such member: x"}');
  }
  let answer = "";
  await until(
    () => answer,
    UNTIL_MS,
    async () => {
      answer = await promote(learner, id);
      return answer.startsWith("200 ");
    },
  );
  const voting = JSON.parse(answer.slice(4));
  assert.deepEqual([voting.id, voting.name, voting.isLearner], [id, "watcher", undefined]);
  for (const member of [voter, learner]) {
    await until("nobody is a learner", UNTIL_MS, async () => {
      return (await learnersSeenBy(member)).length === 0;
    });
    assert.equal(await promote(member, id), NO_LEARNER);
  }
  // The `node` frontend of the new voter, and the client library.
  const json = { "Content-Type": "application/json" };
  const options = { method: "POST", path: "/v2/admin/leader", headers: json };
  const moved = await request(learner.port, { ...options, body: JSON.stringify({ id }) });
  assert.equal(moved.status, 204, moved.body.toString());
  const client = new Client({ endpoints: [learner.clientUrl] });
  assert.equal((await client.members.leader()).id, id);
  await client.members.moveLeader(own);
  assert.equal((await client.members.leader()).id, own);
  const status = (wanted: number) => (error: ApiError) => error.status === wanted;
  await assert.rejects(client.members.promote(own), status(412));
  await assert.rejects(client.members.promote("abc"), status(404));
  await assert.rejects(client.members.moveLeader("abc"), status(404));
  await client.close();
  const again = await run("member", "promote", "watcher");
  assert.deepEqual(again, {
    ...{ code: 1, out: "", err: "etcdserver: can only promote a learner member\n" },
  });
});

test("a learner that is the only one left continues with --force-new-cluster", async () => {
  const third = await TestMember.make("ringd", ["--name", "third"]);
  try {
    let added = await run("member", "add", "--learner", "third", third.peerUrl);
    // Rejected until all voters have been connected for five seconds.
    await until("it is added", UNTIL_MS, async () => {
      if (added.code !== 0) added = await run("member", "add", "--learner", "third", third.peerUrl);
      return added.code === 0;
    });
    const cluster = /^ETCD_INITIAL_CLUSTER="(.*)"$/m.exec(added.out)?.[1] ?? "";
    await third.start(["--initial-cluster", cluster, "--initial-cluster-state", "existing"]);
    assert.deepEqual(await learnersSeenBy(third), ["third true"]);
    await Promise.all([voter, learner, third].map((member) => member.end("SIGKILL")));
    await third.start(["--force-new-cluster"]);
    const alone = await membersSeenBy(third);
    assert.deepEqual(
      alone.map(({ name, isLearner }) => [name, isLearner]),
      [["third", undefined]],
    );
    const put = await send(third.port, "PUT", "/v2/keys/e", "value=1");
    assert.equal(put.status, 201, put.body.toString());
  } finally {
    await third.destroy();
  }
});

test("a cluster of an older format refuses learners, and says what they need", async () => {
  const old = await TestMember.make("ringd");
  try {
    old.environment = { RINGD_TEST_FORMAT_LEVEL: "3" };
    await old.start();
    const { clientUrl } = old;
    const args = [
      "--endpoints",
      clientUrl,
      "member",
      "add",
      "--learner",
      "x",
      "http://127.0.0.1:1",
    ];
    const { code, err } = await ringctl(args);
    const why =
      "a learner needs ringd 0.4.0 or later on all members (format 4; the cluster's is 3)\n";
    assert.deepEqual([code, err], [1, why]);
    assert.deepEqual(await learnersSeenBy(old), []);
  } finally {
    await old.destroy();
  }
});
