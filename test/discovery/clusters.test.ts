import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { test } from "node:test";
import { send } from "../support/http.js";
import { type MemberKind, TestMember } from "../support/member.js";
import { freePorts } from "../support/ports.js";
import { until } from "../support/until.js";
import { assertOneCluster, destroy, found, hasEtcd, hasProgram } from "./founders.js";

const TOKEN = "/v2/keys/discovery/6c007a14875d53d9bf0ef5a6fc0257c8";

/** It does not start without its file. */
function hasDebiansService(): boolean {
  return existsSync("/etc/etcd-discovery") && hasProgram("discovery.etcd.io", "--help");
}

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
      const members = await found("ringd", 3, async (n) => {
        return ["--discovery", await setSize(host, "3", `${TOKEN}/${n}`)];
      });
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

for (const kind of ["ringd", "etcd"] as const) {
  const skip = kind === "etcd" && !hasEtcd() ? "etcd is not installed" : false;
  test(`three members of ${kind} found a cluster by a token of ringd's discovery service`, {
    skip,
  }, async () => {
    const host = await TestMember.create("ringd", ["--enable-discovery-service"]);
    try {
      const members = await found(kind, 3, async () => {
        const url = (await send(host.port, "GET", "/new?size=3")).body.toString();
        assert.match(url, new RegExp(`^${host.clientUrl}/[0-9a-f]{32}$`));
        return ["--discovery", url];
      });
      await assertOneCluster(members).finally(() => destroy(members));
    } finally {
      await host.destroy();
    }
  });
}

test("Debian's etcd-discovery runs on ringd", {
  skip: hasDebiansService() ? false : "etcd-discovery is not installed",
}, async () => {
  const host = await TestMember.create("ringd");
  const [port = 0] = await freePorts(1);
  const at = ["--addr", `127.0.0.1:${port}`, "--host", `http://127.0.0.1:${port}`];
  const service = spawn("discovery.etcd.io", [...at, "--etcd", host.clientUrl], {
    stdio: "ignore",
  });
  try {
    let url = "";
    await until("it serves", 10_000, async () => {
      const answer = await send(port, "GET", "/new?size=2").catch(() => undefined);
      url = answer?.status === 200 ? answer.body.toString() : "";
      return url !== "";
    });
    assert.equal((await send(port, "GET", "/health")).body.toString(), "OK");
    const members = await found("ringd", 2, async () => {
      url = (await send(port, "GET", "/new?size=2")).body.toString();
      return ["--discovery", url];
    });
    await assertOneCluster(members).finally(() => destroy(members));
  } finally {
    service.kill();
    await host.destroy();
  }
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
