import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer as createPlain, type RequestListener, type Server } from "node:http";
import { createServer as createSecure } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { ELSEWHERE, LOOPBACK } from "./certificates.js";
import { etcdctl, Host, ringctl } from "./run.js";

const folder = mkdtempSync(join(tmpdir(), "ringctl-tls-"));
const loopback = files("loopback", LOOPBACK);
const elsewhere = files("elsewhere", ELSEWHERE);
const servers: Server[] = [];
const host = new Host();
let plain = 0;
let secure = 0;
let misnamed = 0;
let mutual = 0;

before(async () => {
  plain = await listening(createPlain(serve("http")));
  secure = await listening(createSecure(LOOPBACK, serve("https")));
  misnamed = await listening(createSecure(ELSEWHERE, serve("https")));
  const checked = { ...LOOPBACK, requestCert: true, rejectUnauthorized: true, ca: LOOPBACK.cert };
  mutual = await listening(createSecure(checked, serve("https")));
});

after(() => {
  host.end();
  for (const server of servers) {
    server.close();
    server.closeAllConnections();
  }
  rmSync(folder, { recursive: true });
});

test("certificates are verified and presented as by etcdctl", async () => {
  const url = (port: number) => `https://127.0.0.1:${port}`;
  const pair = ["--cert-file", loopback.cert, "--key-file", loopback.key];
  const lines: readonly (readonly [number, ...string[]])[] = [
    [secure, "--ca-file", loopback.cert],
    [secure],
    [secure, "--no-sync"],
    [secure, "--ca-file", elsewhere.cert],
    [secure, "--cert-file", loopback.cert, "--key-file", elsewhere.key],
    [misnamed, "--ca-file", elsewhere.cert],
    [mutual, "--ca-file", loopback.cert, ...pair],
    [plain],
  ];
  for (const [port, ...flags] of lines) {
    for (const command of [["get", "/k"], ["cluster-health"], ["member", "list"]]) {
      const args = ["--endpoints", url(port), ...flags, ...command];
      const [expected, actual] = await Promise.all([etcdctl(args), host.run("etcdctl", args, {})]);
      assert.deepEqual(actual, expected, args.join(" "));
    }
  }
});

test("variables can name the files", async () => {
  const env = {
    RINGCTL_CA_FILE: loopback.cert,
    ETCDCTL_CERT_FILE: loopback.cert,
    RINGCTL_KEY_FILE: loopback.key,
    RINGCTL_ENDPOINTS: `https://127.0.0.1:${mutual}`,
  };
  assert.deepEqual(await ringctl(["get", "/k"], { env }), { code: 0, out: "secret\n", err: "" });
});

function serve(scheme: string): RequestListener {
  return ({ url = "", headers }, response) => {
    const member = {
      id: "a1",
      name: "x",
      peerURLs: [],
      clientURLs: [`${scheme}://${headers.host}`],
    };
    const node = { key: "/k", value: "secret", modifiedIndex: 5, createdIndex: 5 };
    const answers: Readonly<Record<string, unknown>> = {
      "/v2/members": { members: [member] },
      "/v2/members/leader": member,
      "/health": { health: "true" },
    };
    response.end(JSON.stringify(answers[url] ?? { action: "get", node }));
  };
}

async function listening(server: Server): Promise<number> {
  servers.push(server);
  server.on("tlsClientError", () => undefined);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}

function files(name: string, pem: { readonly cert: string; readonly key: string }) {
  const cert = join(folder, `${name}.crt`);
  const key = join(folder, `${name}.key`);
  writeFileSync(cert, pem.cert);
  writeFileSync(key, pem.key);
  return { cert, key };
}
