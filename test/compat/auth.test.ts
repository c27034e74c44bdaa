import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { type RawAnswer, type RawRequest, request } from "../support/http.js";
import { TestMember } from "../support/member.js";
import { Prng } from "../support/prng.js";
import { SEED } from "../support/seed.js";
import { AuthSession } from "./auth-session.js";
import { untilOwnWritesDone } from "./own-writes.js";

/** SEED=n repeats a session; STEPS=n makes it longer. */
const STEPS = Number(process.env.STEPS ?? 150);
const COMPARED = ["content-type", "allow", "x-etcd-index", "x-etcd-cluster-id", "location"];

const hasEtcd = spawnSync("etcd", ["--version"]).status === 0;
if (!hasEtcd) process.stdout.write("# etcd is not installed: auth sessions are not compared\n");

function show({ status, headers, body }: RawAnswer): string {
  const lines = COMPARED.map((name) => {
    const value = headers.get(name) ?? "(none)";
    return `${name}: ${name === "x-etcd-cluster-id" && value !== "(none)" ? "given" : value}`;
  });
  return `${status}\n${lines.join("\n")}\n${body.toString("latin1")}`;
}

function describe({ method, path, headers, body }: RawRequest): string {
  return `${method} ${path} ${headers?.Authorization ?? ""} ${body ?? ""}`;
}

async function statsOf(port: number): Promise<Record<string, number>> {
  const answer = await request(port, { method: "GET", path: "/v2/stats/store" });
  const { watchers: _watchers, ...counts } = JSON.parse(answer.body.toString());
  return counts;
}

test(`ringd and etcd answer a random session about users alike, SEED=${SEED}`, {
  skip: !hasEtcd,
}, async () => {
  const members = await Promise.all([
    TestMember.create("etcd"),
    TestMember.create("ringd", ["--bcrypt-cost", "4"]),
  ]);
  try {
    for (const { clientUrl } of members) await untilOwnWritesDone(clientUrl);
    const session = new AuthSession(new Prng(SEED));
    const done: string[] = [];
    const before = await Promise.all(members.map(({ port }) => statsOf(port)));
    for (let step = 0; step < STEPS; step++) {
      const next = session.next();
      done.push(describe(next));
      // Members have different ids and URLs.
      const isList = next.method === "GET" && next.path === "/v2/members";
      const [etcd, ringd] = await Promise.all([
        // A user with a role of no name, for one, makes it end the connection.
        request(members[0].port, next).catch(() => undefined),
        request(members[1].port, next),
      ]);
      if (etcd === undefined) return;
      const shown = (answer: RawAnswer) => (isList ? String(answer.status) : show(answer));
      assert.equal(shown(ringd), shown(etcd), done.slice(-15).join("\n"));
      const after = await Promise.all(members.map(({ port }) => statsOf(port)));
      const [etcdDelta, ringdDelta] = after.map((counts, i) => difference(counts, before[i] ?? {}));
      assert.deepEqual(ringdDelta, etcdDelta, done.slice(-15).join("\n"));
    }
  } finally {
    await Promise.all(members.map((member) => member.destroy()));
  }
});

function difference(
  after: Readonly<Record<string, number>>,
  before: Readonly<Record<string, number>>,
): Record<string, number> {
  return Object.fromEntries(
    Object.entries(after).map(([name, count]) => [name, count - (before[name] ?? 0)]),
  );
}
