import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { copyFileSync } from "node:fs";
import { test } from "node:test";
import { send } from "../support/http.js";
import { TestMember } from "../support/member.js";
import { freePorts } from "../support/ports.js";
import { until } from "../support/until.js";
import { Authority, NO_OPENSSL } from "./authority.js";
import { peerFlags } from "./trio.js";

const RINGD = new URL("../../bin/ringd.js", import.meta.url).pathname;

test("a proxy reaches members with TLS by its peer certificate, for members and clients alike", {
  skip: NO_OPENSSL,
}, async () => {
  const [authority, other] = [new Authority(), new Authority()];
  const pair = authority.issue({ cn: "member" });
  const own = other.issue({ cn: "proxy" });
  const [client, peer, front] = await freePorts(3);
  const peerUrl = `https://127.0.0.1:${peer}`;
  const clientUrl = `https://127.0.0.1:${client}`;
  const member = await TestMember.make("ringd", [
    ...["--listen-client-urls", clientUrl, "--advertise-client-urls", clientUrl],
    ...["--listen-peer-urls", peerUrl, "--initial-advertise-peer-urls", peerUrl],
    ...["--initial-cluster", `default=${peerUrl}`, ...peerFlags(authority, pair)],
    ...["--cert-file", pair.certFile, "--key-file", pair.keyFile],
    ...["--trusted-ca-file", authority.caFile, "--client-cert-auth"],
  ]);
  const proxy = await TestMember.make("ringd", [
    ...["--proxy", "on", "--initial-cluster", `default=${peerUrl}`],
    ...["--listen-client-urls", `http://127.0.0.1:${front}`, ...peerFlags(authority, own)],
  ]);
  try {
    await member.start();
    await proxy.start();
    const early = await send(front as number, "GET", "/v2/keys");
    assert.equal(early.status, 503); // Its certificate is of a CA that the member does not know.
    copyFileSync(pair.keyFile, own.keyFile);
    copyFileSync(pair.certFile, own.certFile);
    await until("the new one is used", 10_000, async () => {
      return (await send(front as number, "GET", "/v2/keys")).status === 200;
    });
    const put = await send(front as number, "PUT", "/v2/keys/k", "value=1");
    assert.equal(put.status, 201, put.body.toString());
    const get = await send(front as number, "GET", "/v2/keys/k");
    assert.match(get.body.toString(), /"value":"1"/);
  } finally {
    await Promise.all([member.destroy(), proxy.destroy()]);
    authority.remove();
    other.remove();
  }
});

test("a proxy makes its own certificate for --peer-auto-tls", async () => {
  const [peer, front] = await freePorts(2);
  const proxy = await TestMember.make("ringd", [
    ...["--proxy", "on", "--initial-cluster", `default=https://127.0.0.1:${peer}`],
    ...["--listen-client-urls", `http://127.0.0.1:${front}`, "--peer-auto-tls"],
  ]);
  try {
    await proxy.start();
    assert.equal((await send(front as number, "GET", "/v2/keys")).status, 503);
  } finally {
    await proxy.destroy();
  }
});

test("a proxy refuses to listen on https", () => {
  const url = "https://127.0.0.1:0";
  const args = ["--proxy", "on", "--listen-client-urls", url, "--auto-tls"];
  const { status, stderr, stdout } = spawnSync(
    process.execPath,
    [RINGD, ...args, "--advertise-client-urls", "https://localhost:1"],
    { encoding: "utf8", timeout: 20_000 },
  );
  assert.equal(status, 1);
  assert.match(stdout + stderr, /a proxy cannot serve https:\/\/127\.0\.0\.1:0; give it http URLs/);
});
