import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import type { TlsSettings } from "#ringd/config/tls.js";
import { createMetricsMemory, MetricCells } from "#ringd/metrics/cells.js";
import { cellOf } from "#ringd/metrics/families.js";
import { readMaterial } from "#ringd/tls/files.js";
import { TlsIdentity } from "#ringd/tls/identity.js";
import { ensureSelfSigned } from "#ringd/tls/self-signed.js";
import { Authority, NO_OPENSSL } from "./authority.js";
import { keptLines, tlsSettings } from "./settings.js";

const DAY_MS = 24 * 60 * 60 * 1000;
const skip = NO_OPENSSL;
const authority = skip ? undefined : new Authority();
after(() => authority?.remove());

function ca(): Authority {
  assert.ok(authority);
  return authority;
}

async function reasonOf(some: Partial<TlsSettings>): Promise<string> {
  const error: unknown = await readMaterial(tlsSettings(some), Date.now()).catch((e: unknown) => e);
  assert.ok(error instanceof Error, "it is rejected");
  assert.equal(error.name, "TlsFileError");
  return error.message;
}

test("a bad file is named with its flag and the reason", { skip }, async () => {
  const good = ca().issue();
  const { certFile, keyFile } = good;
  const other = ca().issue();
  const empty = ca().write("empty", "");
  const text = ca().write("text", "hello\n");
  const half = ca().write("half", good.cert.slice(0, 300));
  const halfBundle = ca().write("halfBundle", readFileSync(ca().caFile) + good.cert.slice(0, 300));
  const pipe = join(ca().dir, "pipe");
  execFileSync("mkfifo", [pipe]);
  const damaged = ca().write("damaged", good.cert.replace(/\n[A-Za-z0-9]{20}/, "\n"));
  const missing = join(ca().dir, "missing");
  const cases: readonly (readonly [Partial<TlsSettings>, string])[] = [
    [{ certFile: missing, keyFile }, `--cert-file ${missing}: no such file or directory`],
    [{ certFile, keyFile: missing }, `--key-file ${missing}: no such file or directory`],
    [{ certFile: ca().dir, keyFile }, `--cert-file ${ca().dir}: is a directory`],
    [{ certFile: empty, keyFile }, `--cert-file ${empty}: is empty`],
    [{ certFile, keyFile: empty }, `--key-file ${empty}: is empty`],
    [{ certFile: text, keyFile }, `--cert-file ${text}: is not a certificate in PEM`],
    [{ certFile, keyFile: text }, `--key-file ${text}: is not a key in PEM`],
    [{ certFile: half, keyFile }, `--cert-file ${half}: is truncated`],
    // Whose second CA would be missed by its members alone.
    [{ trustedCaFile: halfBundle }, `--trusted-ca-file ${halfBundle}: is truncated`],
    [{ certFile: keyFile, keyFile }, `--cert-file ${keyFile}: holds no certificate in PEM`],
    [{ certFile: damaged, keyFile }, `--cert-file ${damaged}: holds a damaged certificate (`],
    [{ certFile, keyFile: certFile }, `--key-file ${certFile}: is not a private key in PEM (`],
    [
      { certFile, keyFile: other.keyFile },
      `--key-file ${other.keyFile}: the key does not match the certificate in ${certFile}`,
    ],
    [{ trustedCaFile: empty }, `--trusted-ca-file ${empty}: is empty`],
    [{ trustedCaFile: keyFile }, `--trusted-ca-file ${keyFile}: holds no certificate in PEM`],
    [{ trustedCaFile: certFile }, `--trusted-ca-file ${certFile}: holds no certificate of a CA`],
    [{ crlFile: missing }, `--client-crl-file ${missing}: no such file or directory`],
    [{ crlFile: pipe }, `--client-crl-file ${pipe}: is a named pipe`],
    [{ crlFile: "/dev/zero" }, "--client-crl-file /dev/zero: is an endless device"],
    [{ crlFile: empty }, `--client-crl-file ${empty}: is empty`],
    [
      { crlFile: certFile },
      `--client-crl-file ${certFile}: is not a revocation list in PEM or DER`,
    ],
    [{ side: "peer", crlFile: empty }, `--peer-crl-file ${empty}: is empty`],
    [{ side: "peer", certFile: empty, keyFile }, `--peer-cert-file ${empty}: is empty`],
  ];
  for (const [some, text] of cases) {
    const reason = await reasonOf(some);
    assert.ok(reason.startsWith(`cannot use ${text}`), `${reason}, not ${text}`);
  }
});

test("certificates out of their time, and keys that all can read, are warned of", {
  skip,
}, async () => {
  const warningsOf = async (files: { certFile: string; keyFile: string }) => {
    const { warnings } = await readMaterial(tlsSettings(files), Date.now());
    return warnings.map((line) => line.replace(/\d{4}-\d\d-.*/, "TIME").replace(ca().dir, ""));
  };
  const old = ca().issue({ fromDays: -10, toDays: -1 });
  assert.match((await warningsOf(old))[0] ?? "", /^--cert-file .*: expired at TIME$/);
  const early = ca().issue({ fromDays: 1, toDays: 10 });
  assert.match((await warningsOf(early))[0] ?? "", /^--cert-file .*: not valid before TIME$/);
  const good = ca().issue();
  chmodSync(good.keyFile, 0o640);
  assert.deepEqual(await warningsOf(good), []);
  chmodSync(good.keyFile, 0o644);
  assert.match((await warningsOf(good))[0] ?? "", /every user of this host can read the private/);
});

test("revoked serial numbers are read from PEM and DER", { skip }, async () => {
  const first = ca().issue();
  const second = ca().issue();
  const crlFile = ca().revoke(first, second);
  const { revoked } = await readMaterial(tlsSettings({ crlFile }), Date.now());
  assert.ok((revoked?.size ?? 0) >= 2);
  const der = join(ca().dir, "crl.der");
  const base64 = readFileSync(crlFile, "utf8").replace(/-----.*-----|\n/g, "");
  writeFileSync(der, Buffer.from(base64, "base64"));
  const again = await readMaterial(tlsSettings({ crlFile: der }), Date.now());
  assert.deepEqual(again.revoked, revoked);
});

test("a generated pair is kept, and replaced before its end or if it is damaged", async (t) => {
  const parent = mkdtempSync(join(tmpdir(), "ringd-test-"));
  t.after(() => rmSync(parent, { recursive: true }));
  const dir = join(parent, "data", "fixtures", "client");
  const auto = tlsSettings({ auto: { dir, hosts: ["10.0.0.1", "a.example", "0.0.0.0"] } });
  const nowMs = Date.now();
  const made = await ensureSelfSigned(auto, nowMs);
  assert.match(
    made ?? "",
    /^created cert file .*\/cert.pem and key file .*\/key.pem \(first use\)$/,
  );
  for (const [name, mode] of [
    [".", 0o700],
    ["cert.pem", 0o600],
    ["key.pem", 0o600],
  ] as const) {
    assert.equal(statSync(join(dir, name)).mode & 0o777, mode, name);
  }
  const cert = () => readFileSync(join(dir, "cert.pem"), "utf8");
  const first = cert();
  assert.equal(await ensureSelfSigned(auto, nowMs + 300 * DAY_MS), undefined);
  assert.equal(cert(), first);
  assert.match((await ensureSelfSigned(auto, nowMs + 340 * DAY_MS)) ?? "", /ends soon/);
  assert.notEqual(cert(), first);
  writeFileSync(join(dir, "key.pem"), "");
  assert.match((await ensureSelfSigned(auto, nowMs)) ?? "", /key.pem: is empty\)$/);
  const { pair } = await readMaterial(auto, nowMs);
  assert.ok(pair !== undefined);
});

test("changed files are used once they match", { skip }, async () => {
  const certFile = join(ca().dir, "live.pem");
  const keyFile = join(ca().dir, "live.key");
  const use = (from: string, to: string) => copyFileSync(from, to);
  const [first, second] = [ca().issue(), ca().issue({ toDays: 10 })];
  use(first.certFile, certFile);
  use(first.keyFile, keyFile);
  const { log, lines } = keptLines();
  const metrics = new MetricCells(createMetricsMemory(1), 0);
  const owner = { log, metrics, pollMs: 1e6 };
  const identity = await TlsIdentity.open(tlsSettings({ certFile, keyFile }), owner);
  const seen: string[] = [];
  identity.onChange(({ pair }) => seen.push(pair?.cert ?? ""));
  await identity.look();
  assert.deepEqual([seen, lines], [[], []]);
  use(second.certFile, certFile);
  for (let i = 0; i < 3; i++) await identity.look();
  assert.deepEqual(lines, [
    `cannot use --key-file ${keyFile}: the key does not match the certificate in ${certFile}; the former files stay in use`,
  ]);
  assert.equal(identity.material.pair?.cert, first.cert);
  use(second.keyFile, keyFile);
  await identity.look();
  assert.deepEqual(seen, [second.cert]);
  assert.equal(identity.material.pair?.key, second.key);
  assert.deepEqual(lines.slice(1), [
    "client TLS: certificate files have changed and are in use",
    `--cert-file ${certFile}: expires in 9 days`,
  ]);
  const endSeconds = metrics.get(cellOf("tlsExpiry", "client"));
  assert.ok(Math.abs(endSeconds - (Date.now() + 10 * DAY_MS) / 1000) < 100);
  identity.close();
});
