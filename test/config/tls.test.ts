import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { getCiphers } from "node:tls";
import { parseCipherSuites } from "#ringd/config/cipher-suites.js";
import { type Config, readConfig } from "#ringd/config/config.js";
import { clientListeners, hasTlsThread } from "#ringd/config/frontends.js";

const SECURE = [
  ...["--listen-client-urls", "https://127.0.0.1:1"],
  ...["--advertise-client-urls", "https://127.0.0.1:1"],
];
const PAIR = ["--cert-file=c.pem", "--key-file=k.pem"];

function configOf(...argv: string[]): Config {
  const request = readConfig(argv, {});
  assert.ok(request.kind === "run");
  return request.config;
}

test("a proxy shows members the client side's certificate, if there is one", () => {
  const peer = ["--peer-cert-file=p.pem", "--peer-key-file=q.pem"];
  const on = ["--proxy=on", "--listen-client-urls=http://127.0.0.1:1"];
  assert.equal(configOf(...on, ...peer).upstreamTls?.certFile, "p.pem");
  const config = configOf(...on, ...peer, ...PAIR, "--trusted-ca-file=ca.pem");
  const { upstreamTls, clientTls, peerTls, warnings } = config;
  assert.deepEqual([upstreamTls?.certFile, upstreamTls?.trustedCaFile], ["c.pem", "ca.pem"]);
  assert.deepEqual([clientTls, peerTls?.certFile], [undefined, "p.pem"]);
  // The peer side's has no peer URL to serve; the client side's is in use.
  assert.deepEqual(
    warnings.filter((line) => !line.includes("peer url")),
    [],
  );
  // One that becomes a proxy since its discovery token is full.
  const full = ["--discovery=http://a:1/t", "--advertise-client-urls=http://127.0.0.1:1"];
  assert.equal(configOf(...full, ...PAIR).upstreamTls?.certFile, "c.pem");
  assert.equal(configOf(...on).upstreamTls, undefined);
});

test("an https URL needs a certificate, generated or not", () => {
  const missing =
    /^error verifying flags, TLS key\/cert \(--(peer-)?cert-file, .* must be provided/;
  for (const argv of [
    SECURE,
    ["--listen-metrics-urls=https://127.0.0.1:1"],
    ["--listen-peer-urls=https://127.0.0.1:1"],
    [...SECURE, "--trusted-ca-file=ca.pem"],
  ]) {
    assert.throws(() => configOf(...argv), { message: missing, exitCode: 1 }, argv.join(" "));
  }
  assert.equal(configOf(...SECURE, ...PAIR).clientTls?.certFile, "c.pem");
  const more = ["--advertise-client-urls=https://a.example:1", "--name=x"];
  const { clientTls } = configOf(...SECURE, "--auto-tls", ...more);
  assert.deepEqual(clientTls?.auto, {
    dir: "x.etcd/fixtures/client",
    hosts: ["127.0.0.1", "a.example"],
  });
  assert.equal(configOf(...PAIR).clientTls, undefined);
});

test("half a pair is rejected", () => {
  for (const flag of ["--cert-file=c.pem", "--key-file=k.pem", "--peer-key-file=k.pem"]) {
    assert.throws(() => configOf(flag), { message: /must both be present/, exitCode: 1 });
  }
});

test("who must show a certificate, and whose common name is a user", () => {
  const of = (...argv: string[]) => {
    const tls = configOf(...SECURE, ...PAIR, ...argv).clientTls;
    return [tls?.requiresClientCert, tls?.takesCommonName, tls?.trustedCaFile];
  };
  assert.deepEqual(of(), [false, false, ""]);
  assert.deepEqual(of("--client-cert-auth"), [true, true, ""]);
  assert.deepEqual(of("--trusted-ca-file=a"), [true, false, "a"]);
  assert.deepEqual(of("--ca-file=a"), [true, true, "a"]);
  assert.deepEqual(of("--trusted-ca-file=a", "--client-cert-auth"), [true, true, "a"]);
  assert.throws(() => of("--trusted-ca-file=a", "--ca-file=b"), /exclude each other/);
});

test("flags of peers have a side of their own", () => {
  const { clientTls, peerTls } = configOf(
    ...["--listen-peer-urls=https://127.0.0.1:1", "--peer-cert-file=p", "--peer-key-file=q"],
    ...["--peer-cert-allowed-cn=member", "--peer-crl-file=r", "--peer-client-cert-auth"],
  );
  assert.equal(clientTls, undefined);
  assert.equal(peerTls?.allowedCn, "member");
  assert.equal(peerTls?.crlFile, "r");
  assert.equal(peerTls?.requiresClientCert, true);
  assert.throws(
    () => configOf("--peer-cert-allowed-cn=a", "--peer-cert-allowed-hostname=b"),
    /mutually exclusive/,
  );
});

test("certificates without a URL to use them on are warned of, as are ignored flags", () => {
  const { warnings } = configOf(...PAIR, "--client-cert-auth", "--peer-auto-tls");
  assert.deepEqual(
    warnings.map((line) => line.slice(0, 60)),
    [
      "The scheme of client url http://localhost:2379 is HTTP while",
      "The scheme of client url http://localhost:2379 is HTTP while",
      "The scheme of client url http://localhost:4001 is HTTP while",
      "The scheme of client url http://localhost:4001 is HTTP while",
      "The scheme of peer url http://localhost:2380 is HTTP while k",
    ],
  );
  assert.deepEqual(configOf("--trusted-ca-file=c", "--client-crl-file=d").warnings, [
    "flags without effect, as no client URL is https: --trusted-ca-file, --client-crl-file",
  ]);
  const both = configOf(...SECURE, ...PAIR, "--auto-tls");
  assert.deepEqual(both.warnings, ["ignoring client auto TLS since certs given"]);
  assert.equal(both.clientTls?.auto, undefined);
});

test("http and https may share an address", () => {
  const urls = "https://127.0.0.1:1,http://127.0.0.1:1,https://127.0.0.1:1";
  const { listenClientUrls } = configOf(
    ...[`--listen-client-urls=${urls}`, "--advertise-client-urls=http://a:1"],
    ...PAIR,
  );
  assert.deepEqual(
    listenClientUrls.map(({ text }) => text),
    ["http://127.0.0.1:1", "https://127.0.0.1:1"],
  );
});

test("versions and cipher suites are etcd's", () => {
  const of = (...argv: string[]) => configOf(...SECURE, ...PAIR, ...argv).clientTls;
  assert.equal(of()?.minVersion, "TLSv1.2");
  assert.equal(of()?.maxVersion, "TLSv1.3");
  assert.equal(of("--tls-min-version=TLS1.3")?.minVersion, "TLSv1.3");
  const suites = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305";
  assert.deepEqual(of(`--cipher-suites=${suites}`)?.cipherSuites, [
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-RSA-CHACHA20-POLY1305",
  ]);
  const refused: readonly (readonly [argv: readonly string[], why: RegExp])[] = [
    [["--tls-min-version=TLS1.1"], /--tls-min-version: unexpected TLS version "TLS1.1"/],
    [["--tls-max-version=constructor"], /unexpected TLS version "constructor"/],
    [["--tls-min-version=TLS1.3", "--tls-max-version=TLS1.2"], /min version \(TLS1.3\) is gr/],
    [["--cipher-suites=TLS_FOO"], /unexpected TLS cipher suite "TLS_FOO"/],
    [["--cipher-suites=toString"], /unexpected TLS cipher suite "toString"/],
    [["--cipher-suites=TLS_RSA_WITH_RC4_128_SHA"], /is not available: OpenSSL has dropped it/],
    [["--tls-min-version=TLS1.3", `--cipher-suites=${suites}`], /cannot be configured when only/],
  ];
  for (const [argv, message] of refused) {
    assert.throws(() => of(...argv), { message, exitCode: 1 }, argv.join(" "));
  }
});

test("the suites that Go considers secure are available", () => {
  const kinds = ["ECDHE_ECDSA", "ECDHE_RSA"];
  const ciphers = ["AES_128_CBC_SHA", "AES_256_CBC_SHA", "AES_128_GCM_SHA256"];
  const more = ["AES_256_GCM_SHA384", "CHACHA20_POLY1305_SHA256"];
  const names = [...ciphers, ...more].flatMap((one) =>
    kinds.map((kind) => `TLS_${kind}_WITH_${one}`),
  );
  const parsed = parseCipherSuites(names.join(","));
  assert.equal(parsed.length, names.length);
  for (const name of parsed) assert.ok(getCiphers().includes(name.toLowerCase()), name);
});

test("the sections of the file are the two sides", (t) => {
  const dir = mkdtempSync(join(tmpdir(), "ringd-test-"));
  t.after(() => rmSync(dir, { recursive: true }));
  const file = join(dir, "ringd.yml");
  const section = (name: string) =>
    `${name}-transport-security:\n  cert-file: ${name}.crt\n  key-file: ${name}.key\n` +
    `  client-cert-auth: true\n  trusted-ca-file: ${name}.ca\n`;
  const urls =
    "listen-client-urls: https://127.0.0.1:1\nadvertise-client-urls: https://127.0.0.1:1\n";
  writeFileSync(file, `${urls}${section("client")}${section("peer")}`);
  const { clientTls, peerTls } = configOf("--config-file", file);
  for (const [name, tls] of Object.entries({ client: clientTls, peer: peerTls })) {
    assert.equal(tls?.certFile, `${name}.crt`);
    assert.equal(tls?.keyFile, `${name}.key`);
    assert.equal(tls?.trustedCaFile, `${name}.ca`);
    assert.equal(tls?.takesCommonName, true);
  }
});

test("0.4's address flags name https URLs with a certificate", () => {
  const { advertiseClientUrls, listenClientUrls } = configOf("--addr=127.0.0.1:1", ...PAIR);
  assert.deepEqual(advertiseClientUrls, ["https://127.0.0.1:1"]);
  assert.equal(listenClientUrls[0]?.text, "https://[::]:1");
});

test("ports with TLS are node's, and so is an http URL that shares one", () => {
  const urls = "https://127.0.0.1:1,http://127.0.0.1:1,http://127.0.0.1:2";
  const of = (...argv: string[]) =>
    configOf(
      ...[`--listen-client-urls=${urls}`, "--advertise-client-urls=http://a:1"],
      ...[...PAIR, ...argv],
    );
  const config = of("--frontend-threads=2");
  assert.deepEqual(
    clientListeners(config).map(({ url, kind, protocols }) => [url.port, kind, protocols]),
    [
      [1, "node", "both"],
      [2, "uws", "http"],
    ],
  );
  assert.equal(hasTlsThread(config), true);
  for (const url of ["https://127.0.0.1:1", "http://127.0.0.1:1"]) {
    assert.throws(() => of(`--frontend=node,${url}=uws`), /cannot be served by uws, as its port/);
  }
  const all = [...SECURE, ...PAIR];
  assert.throws(() => configOf(...all, "--frontend-threads=2"), /--frontend-threads needs/);
  assert.equal(hasTlsThread(configOf()), false);
});
