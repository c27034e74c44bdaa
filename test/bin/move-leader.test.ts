import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { ringctl } from "../ctl/run.js";
import { type ClusterMember, TestCluster } from "../support/cluster.js";
import { until } from "../support/until.js";

/** Leadership goes where an operator wants it, with three real members. */

const PATH = "/v2/admin/leader";
const TIMEOUT_MS = 10_000;
/** A transfer has as long, and the machine may be busy. */
const PATIENT = ["--election-timeout", "3000"];

let cluster: TestCluster;
before(async () => {
  cluster = await TestCluster.create({ kind: "ringd", size: 3, flags: PATIENT });
});
after(() => cluster.destroy());

async function move(asked: ClusterMember, id: unknown) {
  const answer = await asked.ask("POST", PATH, { json: { id }, timeoutMs: TIMEOUT_MS });
  assert.ok(answer !== undefined);
  return `${answer.status} ${answer.body}`.trim();
}

function others(member: ClusterMember): [ClusterMember, ClusterMember] {
  return cluster.members.filter((one) => one !== member) as [ClusterMember, ClusterMember];
}

test("any member has any voter made the leader, and answers once it is", async () => {
  for (const asked of cluster.members) {
    for (const target of cluster.members) {
      assert.equal(await move(asked, await target.id()), "204");
      const view = await asked.view();
      assert.equal(view?.leader, await target.id(), "the member asked knows it");
    }
    const leader = await cluster.leader();
    assert.equal(await move(asked, await leader.id()), "204", "the leader stays so");
  }
});

test("ids that are none, and bodies that are none, are refused with a reason", async () => {
  const [member] = cluster.members as [ClusterMember];
  assert.equal(await move(member, "abc"), '404 {"message":"No such member: abc"}');
  assert.equal(await move(member, "0"), '404 {"message":"No such member: 0"}');
  assert.equal(await move(member, "n1"), '404 {"message":"No such member: n1"}');
  const expected = '400 {"message":"expected {\\"id\\":\\"ID\\"}, a member\'s id in hex"}';
  for (const id of [7, null, "", undefined]) assert.equal(await move(member, id), expected);
  assert.equal((await member.ask("GET", PATH))?.status, 405);
  assert.equal((await member.ask("GET", PATH))?.headers.allow, "POST");
  assert.equal((await member.ask("POST", PATH))?.status, 415);
});

test("ringctl takes an id or a name, and prints what etcdctl 3 prints", async () => {
  const env = { RINGCTL_ENDPOINTS: cluster.members.map(({ clientUrl }) => clientUrl).join(",") };
  const leader = await cluster.leader();
  const [first, second] = others(leader);
  const ids = await Promise.all([leader.id(), first.id(), second.id()]);
  const done = (from: string | undefined, to: string | undefined) => ({
    ...{ code: 0, err: "", out: `Leadership transferred from ${from} to ${to}\n` },
  });
  assert.deepEqual(await ringctl(["move-leader", first.name], { env }), done(ids[0], ids[1]));
  assert.deepEqual(await ringctl(["move-leader", ids[2] ?? ""], { env }), done(ids[1], ids[2]));
  assert.deepEqual(await ringctl(["move-leader"], { env }), {
    ...{ code: 128, out: "", err: "Error: move-leader command needs 1 argument\n" },
  });
  assert.deepEqual(await ringctl(["move-leader", "nobody"], { env }), {
    ...{ code: 128, out: "", err: "Error: no member has the id or name nobody\n" },
  });
});

test("with credentials of root alone, once users are asked who they are", async () => {
  const [member] = cluster.members as [ClusterMember];
  const put = (path: string, json?: unknown) =>
    member.ask("PUT", path, { json, timeoutMs: TIMEOUT_MS });
  await put("/v2/auth/users/root", { user: "root", password: "pw" });
  assert.equal((await put("/v2/auth/enable"))?.status, 200);
  const target = others(await cluster.leader())[0];
  const id = await target.id();
  assert.equal(await move(member, id), '401 {"message":"Insufficient credentials"}');
  const env = { RINGCTL_ENDPOINTS: member.clientUrl };
  const denied = await ringctl(["move-leader", id], { env });
  assert.deepEqual([denied.code, denied.err], [1, "Insufficient credentials\n"]);
  const healthy = await ringctl(["health"], { env });
  assert.equal(healthy.code, 0, "it needs no credentials");
  assert.equal((await ringctl(["-u", "root:pw", "move-leader", id], { env })).code, 0);
  assert.equal((await cluster.leader()).name, target.name);
  const disabled = await ringctl(["-u", "root:pw", "auth", "disable"], { env });
  assert.equal(disabled.code, 0, disabled.err);
});

test("a member that is down, or a cluster without a leader, is answered 503", async () => {
  const leader = await cluster.leader();
  const [down, other] = others(leader);
  const id = await down.id();
  await down.end("SIGKILL");
  await until("the leader knows", TIMEOUT_MS, async () => {
    const answer = await leader.ask("GET", "/metrics");
    return /etcd_network_active_peers\{[^}]*\} 0/.test(answer?.body ?? "");
  });
  const unreachable = `503 {"message":"member ${id} is not connected to the leader"}`;
  assert.equal(await move(leader, id), unreachable);
  const late = "etcdserver: request timed out, leader transfer took too long";
  assert.equal(await move(other, id), `503 {"message":"${late}"}`);
  const put = await other.ask("PUT", "/v2/keys/a?value=1", { timeoutMs: TIMEOUT_MS });
  assert.ok((put?.status ?? 500) < 300, "the leader leads on");
  await leader.end("SIGKILL");
  const why = /^503 \{"message":"etcdserver: (no leader|request timed out.*)"\}$/;
  assert.match(await move(other, await leader.id()), why);
  const env = { RINGCTL_ENDPOINTS: other.clientUrl };
  const { code, out, err } = await ringctl(["--total-timeout", "1500ms", "health"], { env });
  assert.deepEqual([code, err], [1, "Error: unhealthy cluster\n"]);
  const lines = out.trimEnd().split("\n").sort();
  assert.equal(lines.length, 3, out);
  assert.equal(lines.filter((line) => /connection refused$/.test(line)).length, 2, out);
  const own = lines.find((line) => line.startsWith(other.clientUrl)) ?? "";
  assert.match(own, / is unhealthy: failed to commit proposal: (leader|linearizable_read) failed/);
});
