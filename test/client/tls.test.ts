import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import {
  Client,
  ConnectError,
  ConnectionLostError,
  type TlsOptions,
  UnavailableError,
} from "#ringd/client/index.js";
import { TestMember } from "../support/member.js";

const NEW_KEY = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes".split(" ");
const folder = mkdtempSync(join(tmpdir(), "ringd-tls-"));
let member: TestMember;
/** Accepts any client, as etcd does with `--cert-file` alone. */
let open: TestMember;

before(async () => {
  authority("ca");
  authority("stranger");
  certify(
    "server",
    "ca",
    "subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth,clientAuth",
  );
  certify("client", "ca", "extendedKeyUsage=clientAuth");
  certify("other", "stranger", "extendedKeyUsage=clientAuth");
  certify("misnamed", "ca", "subjectAltName=DNS:example.com");
  const server = ["--cert-file", path("server.crt"), "--key-file", path("server.key")];
  member = await listening([...server, "--client-cert-auth", "--trusted-ca-file", path("ca.crt")]);
  open = await listening(["--cert-file", path("misnamed.crt"), "--key-file", path("misnamed.key")]);
});

after(async () => {
  await Promise.all([member?.destroy(), open?.destroy()]);
  rmSync(folder, { recursive: true, force: true });
});

/** An etcd that serves clients over TLS; the last flag of a name wins. */
async function listening(args: readonly string[]): Promise<TestMember> {
  const made = await TestMember.make("etcd", args);
  const url = secure(made);
  await made.start(["--listen-client-urls", url, "--advertise-client-urls", url]);
  return made;
}

function secure(of: TestMember): string {
  return of.clientUrl.replace("http:", "https:");
}

function path(name: string): string {
  return join(folder, name);
}

function openssl(...args: string[]): void {
  const run = spawnSync("openssl", args, { cwd: folder, encoding: "utf8" });
  assert.equal(run.status, 0, run.error?.message ?? run.stderr);
}

function authority(name: string): void {
  const files = ["-keyout", `${name}.key`, "-out", `${name}.crt`];
  openssl("req", "-x509", "-days", "2", ...NEW_KEY, ...files, "-subj", `/CN=${name}`);
}

function certify(name: string, by: string, extensions: string): void {
  writeFileSync(path(`${name}.ext`), `${extensions}\n`);
  openssl(
    "req",
    "-new",
    ...NEW_KEY,
    "-keyout",
    `${name}.key`,
    "-out",
    `${name}.csr`,
    "-subj",
    `/CN=${name}`,
  );
  const signer = ["-CA", `${by}.crt`, "-CAkey", `${by}.key`, "-CAcreateserial"];
  const files = ["-in", `${name}.csr`, "-out", `${name}.crt`, "-extfile", `${name}.ext`];
  openssl("x509", "-req", "-days", "2", ...signer, ...files);
}

function tlsOf(name: string): TlsOptions {
  const [ca, cert, key] = ["ca.crt", `${name}.crt`, `${name}.key`].map((file) =>
    readFileSync(path(file)),
  );
  return { ca, cert, key };
}

async function failure(url: string, tls: TlsOptions | undefined): Promise<Error | undefined> {
  const client = new Client({ endpoints: [url], tls });
  try {
    await client.get("/");
    return assert.fail("the member accepted the client");
  } catch (error) {
    assert.ok(error instanceof UnavailableError, `${error}`);
    return error.errors[0];
  } finally {
    await client.close();
  }
}

test("calls and watches work with a client certificate of the member's CA", async () => {
  const client = new Client({ endpoints: [secure(member)], tls: tlsOf("client") });
  const { index } = await client.set("/tls", "v");
  for await (const item of client.watch("/tls", { afterIndex: index - 1 })) {
    assert.equal(item.node?.value, "v");
    break;
  }
  assert.deepEqual(await client.syncEndpoints(), [secure(member)]);
  assert.equal(await client.health(), true);
  await client.close();
});

test("a member with an unknown CA is rejected", async () => {
  const { cert, key } = tlsOf("client");
  const error = await failure(secure(member), { cert, key });
  assert.ok(error instanceof ConnectError);
  assert.equal(error.systemCode, "UNABLE_TO_VERIFY_LEAF_SIGNATURE");
});

test("a certificate for another name is rejected, unless servername is set to it", async () => {
  const { ca } = tlsOf("client");
  const error = await failure(secure(open), { ca });
  assert.ok(error instanceof ConnectError);
  assert.equal(error.systemCode, "ERR_TLS_CERT_ALTNAME_INVALID");
  for (const tls of [{ ca, servername: "example.com" }, { rejectUnauthorized: false }]) {
    const client = new Client({ endpoints: [secure(open)], tls });
    assert.equal((await client.get("/")).node.key, "/");
    await client.close();
  }
});

test("a client without a certificate, or with one of another CA, is rejected", async () => {
  for (const tls of [{ ca: tlsOf("client").ca }, tlsOf("other")]) {
    // TLS 1.3 rejects after the handshake, when the request may have been sent.
    const error = await failure(secure(member), tls);
    assert.ok(error instanceof ConnectionLostError || error instanceof ConnectError, `${error}`);
  }
});

test("certificates and keys that OpenSSL rejects are errors of the connection", async () => {
  const error = await failure(secure(member), { cert: "no certificate", key: "no key" });
  assert.ok(error instanceof ConnectError, `${error}`);
});

test("requests over TLS share a connection", async () => {
  let connections = 0;
  const [cert, key] = ["server.crt", "server.key"].map((file) => readFileSync(path(file)));
  const server = createServer({ cert, key }, (_, response) => {
    response.end('{"action":"get","node":{"value":"v"}}');
  });
  server.on("secureConnection", () => connections++);
  await once(server.listen(0, "127.0.0.1"), "listening");
  const { port } = server.address() as AddressInfo;
  const { ca } = tlsOf("client");
  const client = new Client({ endpoints: [`https://127.0.0.1:${port}`], tls: { ca } });
  for (let n = 0; n < 10; n++) assert.equal((await client.get("/")).node.value, "v");
  assert.equal(connections, 1);
  await client.close();
  await once(server.close(), "close");
});

test("http to a TLS member fails, and https to a plain one", async () => {
  assert.ok((await failure(member.clientUrl, undefined)) !== undefined);
  const plain = await TestMember.create("etcd");
  const error = await failure(secure(plain), tlsOf("client"));
  assert.ok(error instanceof ConnectError, `${error}`);
  await plain.destroy();
});
