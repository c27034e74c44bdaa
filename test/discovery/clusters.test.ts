import assert from "node:assert/strict";
import { test } from "node:test";
import { send } from "../support/http.js";
import { type MemberKind, TestMember } from "../support/member.js";
import { until } from "../support/until.js";
import { assertOneCluster, destroy, found, hasEtcd } from "./founders.js";

const TOKEN = "/v2/keys/discovery/6c007a14875d53d9bf0ef5a6fc0257c8";

async function withRegistry(kind: MemberKind, work: (host: TestMember) => Promise<void>) {
  const host = await TestMember.create(kind);
  try {
    await work(host);
  } finally {
    await host.destroy();
  }
}

async function setSize(host: TestMember, size: string, token = TOKEN): Promise<string> {
  const { status } = await send(host.port, "PUT", `${token}/_config/size`, `value=${size}`);
  assert.equal(status, 201);
  return `${host.clientUrl}${token}`;
}

for (const kind of ["ringd", "etcd"] as const) {
  const skip = kind === "etcd" && !hasEtcd() ? "etcd is not installed" : false;
  test(`three members found a cluster by a token kept on ${kind}; a restart needs no token`, {
    skip,
  }, async () => {
    await withRegistry(kind, async (host) => {
      const url = await setSize(host, "3");
      const members = await found("ringd", 3, ["--discovery", url]);
      try {
        await assertOneCluster(members);
        await host.end("SIGKILL");
        await members[0]?.restart();
        assert.match(members[0]?.log ?? "", /discovery token is ignored since cluster already/);
        await assertOneCluster(members, "again");
      } finally {
        await destroy(members);
      }
    });
  });
}

test("a ringd and an etcd find each other at a token", {
  skip: hasEtcd() ? false : "etcd is not installed",
}, async () => {
  await withRegistry("etcd", async (host) => {
    const url = await setSize(host, "2");
    const flags = ["--name", "x", "--discovery", url];
    const [ringd, etcd] = [
      await TestMember.make("ringd", flags),
      await TestMember.make("etcd", ["--name", "y", "--discovery", url]),
    ];
    try {
      ringd.launch();
      etcd.launch();
      await until("both have found each other", 20_000, () =>
        [ringd, etcd].every(({ log }) => /found (all needed|2 needed)/.test(log)),
      );
    } finally {
      await destroy([ringd, etcd]);
    }
  });
});

test("full, duplicate, without a size: exit 1, with one line that says what to do", async () => {
  await withRegistry("ringd", async (host) => {
    const refused = async (url: string, flags: readonly string[] = []) => {
      const member = await TestMember.make("ringd", ["--discovery", url, ...flags]);
      try {
        member.launch();
        assert.equal(await member.untilExit(), 1, member.log);
        assert.ok(!member.log.includes("    at "), member.log);
        return member.log;
      } finally {
        await member.destroy();
      }
    };
    const url = await setSize(host, "1");
    const founder = await TestMember.make("ringd", ["--discovery", url]);
    try {
      await founder.start();
      const full = await refused(url, ["--discovery-fallback", "exit"]);
      assert.match(full, /\(discovery: cluster is full\)/);
      assert.match(full, /generate a new one/);
    } finally {
      await founder.destroy();
    }
    const lost = await setSize(host, "2", "/v2/keys/lost");
    const registered = await TestMember.make("ringd", ["--discovery", lost]);
    try {
      registered.launch();
      await until("it is registered", 20_000, () => registered.log.includes("waiting for more"));
      await registered.end("SIGKILL");
      registered.launch();
      assert.equal(await registered.untilExit(), 1);
      assert.match(registered.log, /\(discovery: found duplicate id\)/);
    } finally {
      await registered.destroy();
    }
    const none = await refused(`${host.clientUrl}/v2/keys/none`);
    assert.match(none, /\(discovery: size key not found\)/);
    const bad = await refused(await setSize(host, "three", "/v2/keys/bad"));
    assert.match(bad, /\(discovery: size key is bad\)/);
    assert.match(await refused(host.clientUrl), /\(discovery: bad discovery endpoint\)/);
    const existing = ["--initial-cluster-state", "existing"];
    assert.match(await refused(url, existing), /discovery URL should not be set when joining/);
  });
});
