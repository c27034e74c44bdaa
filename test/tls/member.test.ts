import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, copyFileSync, existsSync, readFileSync, renameSync, statSync } from "node:fs";
import type { IncomingMessage } from "node:http";
import { Agent, request as httpsRequest, type RequestOptions } from "node:https";
import { type AddressInfo, connect, createServer } from "node:net";
import { join } from "node:path";
import { after, test } from "node:test";
import { promisify } from "node:util";
import { Client } from "#ringd/client/index.js";
import { etcdctl, type Outcome, ringctl } from "../ctl/run.js";
import { send } from "../support/http.js";
import { TestMember } from "../support/member.js";
import { freePorts } from "../support/ports.js";
import { Authority, type Issued, NO_OPENSSL } from "./authority.js";

const skip = NO_OPENSSL;
const made = skip ? undefined : new Authority();
after(() => made?.remove());

function ca(): Authority {
  assert.ok(made);
  return made;
}

/** A member whose client URL is https. @param more flags */
async function secureMember(more: readonly string[] = []): Promise<{
  member: TestMember;
  port: number;
  url: string;
}> {
  const [port = 0] = await freePorts(1);
  const url = `https://127.0.0.1:${port}`;
  const urls = ["--listen-client-urls", url, "--advertise-client-urls", url];
  return { member: await TestMember.create("ringd", [...urls, ...more]), port, url };
}

function pairFlags({ certFile, keyFile }: Issued): string[] {
  return ["--cert-file", certFile, "--key-file", keyFile];
}

interface Answered {
  readonly status: number;
  readonly body: string;
}

function call(url: string, options: RequestOptions, body = ""): Promise<Answered> {
  return new Promise((resolve, reject) => {
    const request = httpsRequest(url, options, (response) => {
      let text = "";
      response.on("data", (bytes) => {
        text += bytes;
      });
      response.on("end", () => resolve({ status: response.statusCode ?? 0, body: text }));
    });
    request.on("error", reject);
    request.end(body);
  });
}

const FORM = { "Content-Type": "application/x-www-form-urlencoded" };

test("set, mk, rm, ls and watch over client TLS, with and without certificates", {
  skip,
}, async () => {
  const client = ca().issue({ cn: "client" });
  for (const isMutual of [false, true]) {
    const auth = isMutual ? ["--client-cert-auth", "--trusted-ca-file", ca().caFile] : [];
    const { member, url } = await secureMember([...pairFlags(ca().issue()), ...auth]);
    try {
      const flags = ["--endpoints", url, "--ca-file", ca().caFile];
      if (isMutual) flags.push("--cert-file", client.certFile, "--key-file", client.keyFile);
      for (const [name, tool] of Object.entries({ etcdctl, ringctl })) {
        const says = async (...args: string[]) => {
          const outcome: Outcome = await tool([...flags, ...args]);
          assert.equal(outcome.code, 0, `${name} ${args.join(" ")}: ${outcome.err}`);
          return outcome.out.trim();
        };
        assert.equal(await says("set", `/${name}/a`, "1"), "1");
        assert.equal(await says("mk", `/${name}/b`, "2"), "2");
        assert.equal(await says("ls", `/${name}`), `/${name}/a\n/${name}/b`);
        await says("rm", `/${name}/a`);
        const event = says("watch", "--after-index", "1", `/${name}/b`);
        assert.equal(await event, "2");
        assert.match(await says("cluster-health"), /cluster is healthy/);
        assert.match(await says("member", "list"), new RegExp(`clientURLs=${url} isLeader=true`));
      }
      const tls = { ca: ca().ca, ...(isMutual ? { cert: client.cert, key: client.key } : {}) };
      const library = new Client({ endpoints: [url], tls });
      assert.equal((await library.set("/library", "3")).node.value, "3");
      await library.close();
      const own = isMutual ? ["--cert", client.certFile, "--key", client.keyFile] : [];
      const curl = [...own, "-sS", "--cacert", ca().caFile, `${url}/v2/keys/library`];
      assert.match((await promisify(execFile)("curl", curl)).stdout, /"value":"3"/);
      if (!isMutual) continue;
      assert.notEqual(
        (await etcdctl(["--endpoints", url, "--ca-file", ca().caFile, "ls"])).code,
        0,
      );
      assert.match(
        member.log,
        /rejected connection \(error \\?"tls: client didn't provide a certificate/,
      );
    } finally {
      await member.destroy();
    }
  }
});

test("http and https share a port, next to a plain port of uws", { skip }, async () => {
  const [shared = 0, plain = 0, metrics = 0] = await freePorts(3);
  const urls = [`https://127.0.0.1:${shared}`, `http://127.0.0.1:${shared}`];
  const { certFile, keyFile } = ca().issue();
  const member = await TestMember.create("ringd", [
    ...["--listen-client-urls", [...urls, `http://127.0.0.1:${plain}`].join(",")],
    ...["--advertise-client-urls", urls.join(","), "--cert-file", certFile, "--key-file", keyFile],
    ...["--listen-metrics-urls", `https://127.0.0.1:${metrics}`],
  ]);
  try {
    assert.equal((await send(shared, "PUT", "/v2/keys/a", "value=1")).status, 201);
    const tls = { ca: ca().ca };
    const read = await call(`https://127.0.0.1:${shared}/v2/keys/a`, tls);
    assert.match(read.body, /"value":"1"/);
    assert.match((await send(plain, "GET", "/v2/keys/a")).body.toString(), /"value":"1"/);
    for (const line of [
      `serving client requests on 127.0.0.1:${shared}`,
      `serving insecure client requests on 127.0.0.1:${shared}`,
      `serving insecure client requests on 127.0.0.1:${plain}`,
      `serving metrics on https://127.0.0.1:${metrics}`,
    ]) {
      assert.ok(member.log.includes(line), line);
    }
    for (const port of [metrics, shared]) {
      const page = await call(`https://127.0.0.1:${port}/metrics`, tls);
      assert.match(
        page.body,
        /^ringd_tls_certificate_expiry_timestamp_seconds\{side="client"\} \d+$/m,
      );
    }
    await assert.rejects(send(metrics, "GET", "/health"), /the connection ended|socket hang up/);
  } finally {
    await member.destroy();
  }
});

test("files that cannot be used end the start with one line", { skip }, async () => {
  const [good, other] = [ca().issue(), ca().issue()];
  const empty = ca().write("empty.pem", "");
  const cases: readonly (readonly [flags: readonly string[], why: string])[] = [
    [["--cert-file", empty, "--key-file", good.keyFile], `--cert-file ${empty}: is empty`],
    [
      ["--cert-file", good.certFile, "--key-file", other.keyFile],
      `--key-file ${other.keyFile}: the key does not match the certificate in ${good.certFile}`,
    ],
    [
      [...pairFlags(good), "--trusted-ca-file", good.keyFile],
      `--trusted-ca-file ${good.keyFile}: holds no certificate in PEM`,
    ],
  ];
  for (const [flags, why] of cases) {
    const [port] = await freePorts(1);
    const url = `https://127.0.0.1:${port}`;
    const urls = ["--listen-client-urls", url, "--advertise-client-urls", url];
    const member = await TestMember.make("ringd", [...urls, ...flags]);
    member.launch();
    assert.equal(await member.untilExit(), 1);
    const lines = member.log.split("\n").filter((line) => line.includes("cannot use"));
    assert.equal(lines.length, 1, member.log);
    assert.ok(lines[0]?.includes(why), lines[0]);
    assert.ok(!existsSync(member.dataDir), "nothing was written");
    await member.destroy();
  }
});

test("--auto-tls keeps its pair over a restart", { skip }, async () => {
  const { member, url } = await secureMember(["--auto-tls"]);
  try {
    const file = join(member.dataDir, "fixtures", "client", "cert.pem");
    const cert = readFileSync(file, "utf8");
    assert.equal(
      statSync(join(member.dataDir, "fixtures", "client", "key.pem")).mode & 0o777,
      0o600,
    );
    assert.equal(statSync(member.dataDir).mode & 0o777, 0o700);
    // The certificate is its own CA, and names the address.
    assert.equal((await call(`${url}/version`, { ca: cert })).status, 200);
    await member.restart();
    assert.equal(readFileSync(file, "utf8"), cert);
    assert.equal((await call(`${url}/version`, { ca: cert })).status, 200);
  } finally {
    await member.destroy();
  }
});

test("all files are replaced under load, and no request fails", { skip }, async () => {
  const dir = ca().dir;
  const [certFile, keyFile] = [join(dir, "served.pem"), join(dir, "served.key")];
  const use = ({ certFile: cert, keyFile: key }: Issued) => {
    for (const [from, to] of [
      [cert, certFile],
      [key, keyFile],
    ] as const) {
      copyFileSync(from, `${to}.new`);
      chmodSync(`${to}.new`, 0o600);
      renameSync(`${to}.new`, to);
    }
  };
  use(ca().issue({ cn: "first" }));
  const client = ca().issue();
  const crlFile = ca().revoke(ca().issue());
  const { member, url } = await secureMember([
    ...["--cert-file", certFile, "--key-file", keyFile],
    ...["--trusted-ca-file", ca().caFile, "--client-crl-file", crlFile],
  ]);
  let isDone = false;
  let served = 0;
  const options = { method: "PUT", headers: FORM, ca: ca().ca, cert: client.cert, key: client.key };
  /** Half of them with a new connection for each request. */
  const load = async (i: number) => {
    const agent = new Agent({ keepAlive: i % 2 === 0, maxSockets: 1 });
    while (!isDone) {
      const { status } = await call(`${url}/v2/keys/${i}`, { ...options, agent }, "value=1");
      assert.ok(status === 200 || status === 201);
      served++;
    }
    agent.destroy();
  };
  try {
    const clients = Promise.all(Array.from({ length: 8 }, (_, i) => load(i)));
    for (const cn of ["second", "third"]) {
      use(ca().issue({ cn }));
      ca().revoke(ca().issue());
      for (;;) {
        const name = await commonNameAt(url, options);
        if (name === cn) break;
      }
    }
    isDone = true;
    await clients;
    assert.ok(served > 50, `${served} requests`);
    assert.match(member.log, /client TLS: certificate files have changed and are in use/);
  } finally {
    isDone = true;
    await member.destroy();
  }
});

/** Of the certificate that a new connection gets. */
function commonNameAt(url: string, options: RequestOptions): Promise<string> {
  return new Promise((resolve, reject) => {
    const agent = new Agent({ maxCachedSessions: 0 });
    const request = httpsRequest(
      `${url}/version`,
      { ...options, method: "GET", agent },
      (response) => {
        const socket = response.socket as unknown as import("node:tls").TLSSocket;
        resolve(String(socket.getPeerCertificate().subject.CN));
        response.resume();
      },
    );
    request.on("error", reject);
    request.end();
  });
}

test("a large listing, a stream of events, Expect and many watches over TLS", {
  skip,
}, async () => {
  const { member, url } = await secureMember(pairFlags(ca().issue()));
  const tls = { ca: ca().ca };
  try {
    const value = `value=${"v".repeat(100_000)}`;
    const put = (path: string, body: string, headers = {}) =>
      call(`${url}${path}`, { ...tls, method: "PUT", headers: { ...FORM, ...headers } }, body);
    for (let i = 0; i < 100; i++) {
      assert.equal((await put(`/v2/keys/large/${i}`, value)).status, 201);
    }
    const limited = ["--limit-rate", "20M", "-sS", "--cacert", ca().caFile];
    const curl = spawn("curl", [...limited, `${url}/v2/keys/large`]);
    const chunks: Buffer[] = [];
    curl.stdout.on("data", (bytes: Buffer) => chunks.push(bytes));
    await once(curl, "close");
    assert.equal(JSON.parse(Buffer.concat(chunks).toString()).node.nodes.length, 100);
    const waiting = await put("/v2/keys/expected", "value=1", { Expect: "100-continue" });
    assert.equal(waiting.status, 201);

    const client = new Client({ endpoints: [url], tls });
    const seen: string[] = [];
    const { index } = await client.get("/expected");
    const watch = client.watch("/seen", { recursive: true, afterIndex: index });
    const polls = Array.from({ length: 50 }, () =>
      call(`${url}/v2/keys/seen?wait=true&recursive=true&waitIndex=${index + 1}`, tls),
    );
    const path = `${url}/v2/keys/seen?wait=true&stream=true&recursive=true`;
    const streaming = httpsRequest(path, tls).end();
    const [events] = (await once(streaming, "response")) as [IncomingMessage];
    for (let i = 0; i < 10; i++) await client.set(`/seen/${i}`, `${i}`);
    for (const poll of await Promise.all(polls)) assert.match(poll.body, /"key":"\/seen\/0"/);
    let text = "";
    for await (const bytes of events) {
      text += bytes;
      if (text.split("\n").length > 10) break;
    }
    assert.equal(text.trim().split("\n").length, 10);
    for await (const event of watch) {
      seen.push(event.node?.key ?? "");
      if (seen.length === 10) break;
    }
    assert.equal(seen.at(-1), "/seen/9");
    await client.close();
  } finally {
    await member.destroy();
  }
});

test("metrics that are asked for before a member knows who it is come later", {
  skip,
}, async () => {
  const registry = await TestMember.create("ringd");
  const token = "/v2/keys/token";
  assert.equal((await send(registry.port, "PUT", `${token}/_config/size`, "value=1")).status, 201);
  let release: () => void = () => undefined;
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  const held = createServer((socket) => {
    socket.on("error", () => undefined);
    void released.then(() => {
      const to = connect(registry.port, "127.0.0.1").on("error", () => socket.destroy());
      socket.pipe(to).pipe(socket);
    });
  });
  await once(held.listen(0, "127.0.0.1"), "listening");
  const [port = 0] = await freePorts(1);
  const url = `https://127.0.0.1:${port}`;
  const member = await TestMember.make("ringd", [
    ...["--listen-client-urls", url, "--advertise-client-urls", url, ...pairFlags(ca().issue())],
    ...["--discovery", `http://127.0.0.1:${(held.address() as AddressInfo).port}${token}`],
  ]);
  try {
    const asked = once(held, "connection");
    const started = member.start();
    await asked; // Ports are bound by now.
    const metrics = call(`${url}/metrics`, { ca: ca().ca });
    assert.equal((await call(`${url}/livez`, { ca: ca().ca })).status, 503);
    release();
    await started;
    assert.match((await metrics).body, /^ringd_/m);
  } finally {
    release();
    held.close();
    await member.destroy();
    await registry.destroy();
  }
});
