import assert from "node:assert/strict";
import { copyFileSync, readFileSync } from "node:fs";
import { request } from "node:https";
import { join } from "node:path";
import { test } from "node:test";
import { send } from "../support/http.js";
import { TestMember } from "../support/member.js";
import { freePorts } from "../support/ports.js";
import { until } from "../support/until.js";
import { Authority, NO_OPENSSL } from "./authority.js";
import { peerFlags } from "./trio.js";

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

interface Reply {
  readonly status: number;
  readonly body: string;
}

/** A request over https. @throws Error if the connection is rejected */
function sendSecurely(
  port: number,
  method: string,
  path: string,
  tls: Readonly<Record<string, unknown>>,
  form = "",
): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const headers = form === "" ? {} : { "Content-Type": "application/x-www-form-urlencoded" };
    const options = { host: "127.0.0.1", port, method, path, headers, agent: false, ...tls };
    const sent = request(options, (response) => {
      let body = "";
      response.setEncoding("utf8");
      response.on("data", (text: string) => {
        body += text;
      });
      response.on("error", reject);
      response.on("end", () => resolve({ status: response.statusCode ?? 0, body }));
    });
    sent.on("error", reject);
    sent.end(form);
  });
}

test("a proxy serves https to clients with a certificate, beside http on the same port", {
  skip: NO_OPENSSL,
}, async () => {
  const [authority, other] = [new Authority(), new Authority()];
  const own = authority.issue({ cn: "proxy" });
  const { cert, key } = authority.issue({ cn: "client" });
  const [secure, both] = await freePorts(2);
  const urls = [secure, both].map((port) => `https://127.0.0.1:${port}`);
  const member = await TestMember.create("ringd");
  const proxy = await TestMember.make("ringd", [
    ...["--proxy", "on", "--initial-cluster", `default=${member.peerUrl}`],
    ...["--listen-client-urls", `${urls.join(",")},http://127.0.0.1:${both}`],
    ...["--cert-file", own.certFile, "--key-file", own.keyFile],
    ...["--client-cert-auth", "--trusted-ca-file", authority.caFile],
  ]);
  try {
    await proxy.start();
    const { ca } = authority;
    const tls = { ca, cert, key };
    for (const port of [secure, both] as number[]) {
      const put = await sendSecurely(port, "PUT", `/v2/keys/${port}`, tls, "value=1");
      assert.equal(put.status, 201, put.body);
      const get = await sendSecurely(port, "GET", `/v2/keys/${port}`, tls);
      assert.match(get.body, /"value":"1"/);
    }
    const plain = await send(both as number, "GET", `/v2/keys/${secure}`);
    assert.match(plain.body.toString(), /"value":"1"/);
    const watch = sendSecurely(secure as number, "GET", "/v2/keys/k?wait=true", tls);
    await until("the watch is open", 10_000, async () => {
      return /etcd_debugging_store_watchers 1\n/.test(
        (await send(member.port, "GET", "/metrics")).body.toString(),
      );
    });
    await send(member.port, "PUT", "/v2/keys/k", "value=seen");
    assert.match((await watch).body, /"value":"seen"/);
    const stranger = other.issue({ cn: "client" });
    const refused = [{ ca }, { ca, cert: stranger.cert, key: stranger.key }];
    for (const wrong of refused) {
      await assert.rejects(sendSecurely(secure as number, "GET", "/v2/keys", wrong));
    }
    await assert.rejects(send(secure as number, "GET", "/v2/keys"));
    const page = (await send(both as number, "GET", "/metrics")).body.toString();
    assert.match(page, /\nringd_tls_rejected_connections_total 3\n/);
    assert.match(page, /_expiry_timestamp_seconds\{side="client"\} 1?\d{9}/);
    assert.match(proxy.log, /rejected connection \(error/);
  } finally {
    await Promise.all([member.destroy(), proxy.destroy()]);
    authority.remove();
    other.remove();
  }
});

test("a proxy shows members the certificate that it shows clients, if it has one", {
  skip: NO_OPENSSL,
}, async () => {
  const authority = new Authority();
  const pair = authority.issue({ cn: "member" });
  const [client, front] = await freePorts(2);
  const clientUrl = `https://127.0.0.1:${client}`;
  const files = [
    ...["--cert-file", pair.certFile, "--key-file", pair.keyFile],
    ...["--trusted-ca-file", authority.caFile],
  ];
  const member = await TestMember.make("ringd", [
    ...["--listen-client-urls", clientUrl, "--advertise-client-urls", clientUrl],
    ...[...files, "--client-cert-auth"],
  ]);
  // As etcd: also if the proxy itself serves http.
  const proxy = await TestMember.make("ringd", [
    ...["--proxy", "on", "--initial-cluster", `default=${member.peerUrl}`, ...files],
    ...["--listen-client-urls", `http://127.0.0.1:${front}`],
  ]);
  try {
    await member.start();
    await proxy.start();
    const put = await send(front as number, "PUT", "/v2/keys/k", "value=1");
    assert.equal(put.status, 201, put.body.toString());
    assert.doesNotMatch(proxy.log, /Ignored key\/cert files|flags without effect/);
  } finally {
    await Promise.all([member.destroy(), proxy.destroy()]);
    authority.remove();
  }
});

test("a proxy makes its own certificate for --auto-tls", async () => {
  const [front] = await freePorts(1);
  const member = await TestMember.create("ringd");
  const proxy = await TestMember.make("ringd", [
    ...["--proxy", "on", "--initial-cluster", `default=${member.peerUrl}`, "--auto-tls"],
    ...["--listen-client-urls", `https://127.0.0.1:${front}`],
  ]);
  try {
    await proxy.start();
    const ca = readFileSync(join(proxy.dataDir, "fixtures", "client", "cert.pem"), "utf8");
    const put = await sendSecurely(front as number, "PUT", "/v2/keys/k", { ca }, "value=1");
    assert.equal(put.status, 201, put.body);
  } finally {
    await Promise.all([member.destroy(), proxy.destroy()]);
  }
});
