import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { request } from "node:http";
import { request as secureRequest } from "node:https";
import { after, type TestContext, test } from "node:test";
import { Authority, type Issued, NO_OPENSSL } from "./authority.js";
import { peerFlags, Trio } from "./trio.js";

/**
 * etcd's end-to-end tests of the v2 API over TLS (tests/e2e: ctl_v2_test.go, v2_curl_test.go), with
 * ringctl for etcdctl. As there, --trusted-ca-file is given, so clients need certificates.
 */

const RINGCTL = new URL("../../bin/ringctl.js", import.meta.url).pathname;
const skip = NO_OPENSSL;
const authority = skip ? undefined : new Authority();
after(() => authority?.remove());

function ca(): Authority {
  assert.ok(authority);
  return authority;
}

type Clients = "http" | "https" | "both" | "auto";

interface Setup {
  readonly clients: Clients;
  readonly peers: "http" | "https" | "auto";
}

function clientFlags(clients: Clients, pair: Issued, port: number): string[] {
  if (clients === "http") return [];
  const url = `https://127.0.0.1:${port}`;
  const urls = clients === "both" ? `http://127.0.0.1:${port},${url}` : url;
  const own = ["--cert-file", pair.certFile, "--key-file", pair.keyFile];
  return [
    ...["--listen-client-urls", urls, "--advertise-client-urls", urls],
    ...(clients === "auto" ? ["--auto-tls"] : [...own, "--trusted-ca-file", ca().caFile]),
  ];
}

async function start(t: TestContext, { clients, peers }: Setup): Promise<Trio> {
  const pair = ca().issue();
  const trio = await Trio.start({
    scheme: peers === "http" ? "http" : "https",
    flags: (trio, i) => {
      if (peers === "http") return [];
      return peers === "auto" ? ["--peer-auto-tls"] : peerFlags(ca(), trio.issue(ca(), i));
    },
    clientFlags: (port) => clientFlags(clients, pair, port),
  });
  t.after(() => trio.destroy());
  return trio;
}

class Ctl {
  readonly #argv: readonly string[];

  constructor(trio: Trio, { clients }: Setup) {
    const scheme = clients === "https" ? "https" : "http";
    const urls = trio.members.map(({ port }) => `${scheme}://127.0.0.1:${port}`);
    const { certFile, keyFile } = ca().issue({ cn: "client" });
    const files = ["--cert-file", certFile, "--key-file", keyFile, "--ca-file", ca().caFile];
    this.#argv = [RINGCTL, "--endpoints", urls.join(","), ...(scheme === "https" ? files : [])];
  }

  /** @returns both outputs and, at the end, the exit code if it is not 0 */
  run(...argv: readonly string[]): Promise<string> {
    return new Promise((resolve) => {
      execFile(process.execPath, [...this.#argv, ...argv], (error, stdout, stderr) => {
        resolve(`${stdout}${stderr}${error === null ? "" : error.code}`);
      });
    });
  }

  watch(key: string) {
    return spawn(process.execPath, [...this.#argv, "watch", "--after-index", "1", key]);
  }
}

/** Of each kind of cluster, the tests of etcd's that it has. */
const CTL: Readonly<Record<string, Setup>> = {
  "TestCtlV2SetClientTLS and the like": { clients: "https", peers: "http" },
  "TestCtlV2SetPeerTLS and the like": { clients: "http", peers: "https" },
  "TestCtlV2{Set,Mk,Rm,Ls,Watch}TLS, TestCtlV2ClusterHealth": { clients: "https", peers: "https" },
};

for (const [name, setup] of Object.entries(CTL)) {
  test(name, { skip }, async (t) => {
    const trio = await start(t, setup);
    const ctl = new Ctl(trio, setup);
    assert.equal(await ctl.run("set", "foo", "bar"), "bar\n");
    assert.equal(await ctl.run("get", "foo"), "bar\n");
    assert.equal(await ctl.run("get", "--quorum", "foo"), "bar\n");
    assert.equal(await ctl.run("mk", "made", "bar"), "bar\n");
    assert.match(await ctl.run("mk", "made", "bar"), /Key already exists \(\/made\).*\n4$/);
    assert.equal(await ctl.run("ls"), "/foo\n/made\n");
    assert.equal(await ctl.run("ls", "--quorum"), "/foo\n/made\n");
    assert.equal(await ctl.run("rm", "foo"), "PrevNode.Value: bar\n");
    assert.match(await ctl.run("rm", "foo"), /Key not found \(\/foo\).*\n4$/);
    const watch = ctl.watch("seen");
    t.after(() => watch.kill());
    const seen = once(watch.stdout, "data") as Promise<[Buffer]>;
    assert.equal(await ctl.run("set", "seen", "bar"), "bar\n");
    assert.equal(String(await seen), "bar\n");
    assert.match(await ctl.run("cluster-health"), /\ncluster is healthy\n$/);
  });
}

/** A request as by curl -L -k. */
function curl(url: string, method: string, options: object = {}): Promise<string> {
  const send = url.startsWith("https:") ? secureRequest : request;
  return new Promise((resolve, reject) => {
    const call = send(
      url,
      { method, agent: false, rejectUnauthorized: false, ...options },
      (got) => {
        let text = "";
        got.on("data", (part) => {
          text += part;
        });
        got.on("end", () => resolve(text));
      },
    );
    call.on("error", reject);
    call.end();
  });
}

const CURL: Readonly<Record<string, Setup>> = {
  TestV2CurlAutoTLS: { clients: "auto", peers: "auto" },
  TestV2CurlAllTLS: { clients: "https", peers: "https" },
  TestV2CurlPeerTLS: { clients: "http", peers: "https" },
  TestV2CurlClientTLS: { clients: "https", peers: "http" },
  TestV2CurlClientBoth: { clients: "both", peers: "http" },
};

for (const [name, setup] of Object.entries(CURL)) {
  test(name, { skip }, async (t) => {
    const { clients } = setup;
    const trio = await start(t, setup);
    const { cert, key } = ca().issue();
    const files = clients === "auto" ? {} : { cert, key };
    const schemes =
      clients === "both" ? ["http", "https"] : [clients === "http" ? "http" : "https"];
    for (const [i, scheme] of schemes.entries()) {
      const url = `${scheme}://127.0.0.1:${trio.member(i).port}/v2/keys/foo`;
      const set = await curl(`${url}?value=bar`, "PUT", files);
      assert.match(set, /^\{"action":"set","node":\{"key":"\/foo","value":"bar",/);
      assert.match(await curl(url, "GET", files), /^\{"action":"get",.*"value":"bar"/);
    }
    if (clients !== "https" && clients !== "both") return;
    const url = `https://127.0.0.1:${trio.member(0).port}/v2/keys/foo`;
    await assert.rejects(curl(url, "GET"), "without a certificate");
  });
}
